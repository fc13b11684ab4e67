//! The part of the launcher that is about parts of containers made ahead of their time: ordered when one like it was used,
//! so that the next container finds it, and never waited for.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use serde_json::json;

use super::launcher::Launcher;
use super::maker::{self, Order, RootOrder};
use super::poller::Token;
use super::worker::Worker;
use crate::error::{Failure, Result};
use crate::protocol::{Report, raw};
use crate::run::{Plan, Spare, SpareRoot};

#[derive(Default)]
pub struct Spares {
    maker: Option<Worker>,
    /// Under way, oldest first.
    orders: VecDeque<Ordered>,
    network: Option<OwnedFd>,
    root: Option<SpareRoot>,
}

enum Ordered {
    Network,
    Root { request: u64, order: RootOrder },
}

impl Spares {
    /// What there is for a container.
    pub fn take_for(&mut self, plan: &Plan) -> Spare {
        let Spares { network, root, .. } = self;
        Spare {
            network: network.take_if(|_| Spare::suits_network(plan)),
            // Whether its layers are still the same shows when they are locked.
            rootfs: root.take_if(|root| root.is_for(plan)),
            ports: Vec::new(),
        }
    }

    fn has_network(&self) -> bool {
        let ordered = |order: &Ordered| matches!(order, Ordered::Network);
        self.network.is_some() || self.orders.iter().any(ordered)
    }

    pub fn end(&mut self) {
        if let Some(maker) = self.maker.take() {
            maker.kill();
        }
        self.orders.clear();
        self.network = None;
        self.root = None;
    }
}

impl Launcher {
    /// A network namespace for the next container, where none is there or under way. If it cannot be made, that container
    /// makes its own and says why not.
    pub fn order_network(&mut self) {
        if !self.spares.has_network() {
            let _ = self.order(&Order::Network, Ordered::Network);
        }
    }

    /// A root file system for a container to come, in place of the last one that was ordered.
    pub fn order_root(&mut self, request: u64, order: RootOrder) -> Result<()> {
        self.order(
            &Order::Root(order.clone()),
            Ordered::Root { request, order },
        )
    }

    fn order(&mut self, order: &Order, ordered: Ordered) -> Result<()> {
        if self.spares.maker.is_none() {
            let maker = maker::spawn()?;
            if let Err(failure) = self.poller.add(&maker, Token::Maker) {
                maker.kill();
                return Err(failure);
            }
            self.spares.maker = Some(maker);
        }
        let Some(maker) = &self.spares.maker else {
            return Ok(());
        };
        maker::ask(maker, order)?;
        self.spares.orders.push_back(ordered);
        Ok(())
    }

    pub fn hear_maker(&mut self) {
        let Some(maker) = &mut self.spares.maker else {
            return;
        };
        let open = maker.receive();
        let mut reports = Vec::new();
        while let Some(report) = maker.next() {
            let part = match report {
                Report::Ok(_) => maker.next_descriptor(),
                _ => None,
            };
            reports.push((report, part));
        }
        for (report, part) in reports {
            match self.spares.orders.pop_front() {
                Some(Ordered::Network) => self.spares.network = part,
                Some(Ordered::Root { request, order }) => {
                    self.take_root(request, order, report, part);
                }
                None => {}
            }
        }
        if !open {
            self.lose_maker();
        }
    }

    fn take_root(&mut self, request: u64, order: RootOrder, report: Report, part: Option<OwnedFd>) {
        match (report, part) {
            (Report::Ok(layers), Some(mount)) => {
                let layers = serde_json::from_str(layers.get()).unwrap_or_default();
                self.spares.root = Some(SpareRoot {
                    rootfs: order.rootfs,
                    layers,
                    mount,
                });
                self.answer_ok(request, &json!({}));
            }
            (Report::Error(failure), _) => self.answer_raw_error(request, &failure),
            _ => self.answer_error(request, &Failure::kind("make a root", "worker-died")),
        }
    }

    fn lose_maker(&mut self) {
        let Some(maker) = self.spares.maker.take() else {
            return;
        };
        self.poller.remove(&maker);
        let died = raw(&maker.reap());
        for ordered in std::mem::take(&mut self.spares.orders) {
            if let Ordered::Root { request, .. } = ordered {
                self.answer_raw_error(request, &died);
            }
        }
    }
}
