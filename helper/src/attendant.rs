//! What is served by a process that is there only while something is asked: the parent (launcher or monitor) watches the
//! sockets while nobody serves them, and forks a server when something comes. So an idle container costs no process, and
//! no stranger's bytes are read by the parent.

use std::convert::Infallible;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::launch::Worker;
use crate::net::NetworkPlan;
use crate::poller::Poller;

/// A server that ends sooner has failed, and another would, too.
const SHORT: Duration = Duration::from_secs(1);

pub trait Service {
    fn sockets(&self) -> Vec<BorrowedFd<'_>>;

    /// In a process of its own, with these sockets. It ends when nothing has been asked for a while, and when the parent
    /// has hung up.
    fn serve(&self, parent: &OwnedFd) -> Infallible;

    /// The container is on other networks now: what a server is to be told of that.
    fn change(&mut self, _networks: &NetworkPlan) -> Option<Box<RawValue>> {
        None
    }
}

/// What cannot go on is given up: then whoever asks is refused at once.
pub struct Attendant {
    service: Box<dyn Service>,
    server: Option<(Worker, Instant)>,
}

/// What is attended to for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    Names,
    Relay,
}

/// Those of one container.
#[derive(Default)]
pub struct Attendants([Option<Attendant>; 2]);

impl Duty {
    /// As a part of a token: one bit.
    pub fn bit(self) -> u64 {
        match self {
            Duty::Names => 0,
            Duty::Relay => 1,
        }
    }

    pub fn of_bit(bits: u64) -> Self {
        match bits & 1 {
            0 => Duty::Names,
            _ => Duty::Relay,
        }
    }
}

impl Attendants {
    pub fn watch<T>(&mut self, duty: Duty, new: Attendant, poller: &Poller<T>, asked: T)
    where
        T: Into<u64> + From<u64> + Copy,
    {
        *self.of(duty) = new.watch(poller, asked);
    }

    pub fn serve<T: Into<u64> + From<u64>>(&mut self, duty: Duty, poller: &Poller<T>, end: T) {
        let attendant = self.of(duty);
        *attendant = attendant
            .take()
            .and_then(|attendant| attendant.serve(poller, end));
    }

    pub fn served<T>(&mut self, duty: Duty, poller: &Poller<T>, asked: T)
    where
        T: Into<u64> + From<u64> + Copy,
    {
        let attendant = self.of(duty);
        *attendant = attendant
            .take()
            .and_then(|attendant| attendant.served(poller, asked));
    }

    /// What comes from now on is for another, if there is one.
    pub fn replace<T>(&mut self, duty: Duty, new: Option<Attendant>, poller: &Poller<T>, asked: T)
    where
        T: Into<u64> + From<u64> + Copy,
    {
        let attendant = self.of(duty);
        if let Some(old) = attendant.take() {
            old.close(poller);
        }
        *attendant = new.and_then(|new| new.watch(poller, asked));
    }

    /// From the next question on they answer so.
    pub fn change<T>(
        &mut self,
        networks: &NetworkPlan,
        poller: &Poller<T>,
        asked: impl Fn(Duty) -> T,
    ) where
        T: Into<u64> + From<u64> + Copy,
    {
        for duty in [Duty::Names, Duty::Relay] {
            let attendant = self.of(duty);
            *attendant = attendant
                .take()
                .and_then(|attendant| attendant.change(networks, poller, asked(duty)));
        }
    }

    /// Ends the services: with the last socket in it the container's network namespace goes.
    pub fn close<T: Into<u64> + From<u64>>(self, poller: &Poller<T>) {
        for attendant in self.0.into_iter().flatten() {
            attendant.close(poller);
        }
    }

    fn of(&mut self, duty: Duty) -> &mut Option<Attendant> {
        &mut self.0[duty.bit() as usize]
    }
}

impl Attendant {
    pub fn new(service: impl Service + 'static) -> Self {
        Attendant {
            service: Box::new(service),
            server: None,
        }
    }

    fn watch<T>(self, poller: &Poller<T>, asked: T) -> Option<Self>
    where
        T: Into<u64> + From<u64> + Copy,
    {
        let watched = self
            .service
            .sockets()
            .iter()
            .try_for_each(|socket| poller.add(socket, asked));
        self.unless(watched.is_err(), poller)
    }

    /// Something was asked: from here on a server watches, until `end` tells of its end.
    fn serve<T: Into<u64> + From<u64>>(mut self, poller: &Poller<T>, end: T) -> Option<Self> {
        self.unwatch(poller);
        let sockets = self.service.sockets();
        let numbers: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        let forked = Worker::fork(&numbers, |parent| self.service.serve(parent));
        let watched = forked.and_then(|worker| {
            let watched = poller.add(&worker, end);
            self.server = Some((worker, Instant::now()));
            watched
        });
        self.unless(watched.is_err(), poller)
    }

    /// The server has ended.
    fn served<T>(mut self, poller: &Poller<T>, asked: T) -> Option<Self>
    where
        T: Into<u64> + From<u64> + Copy,
    {
        let lasted = self.dismiss(poller);
        self.unless(lasted.is_some_and(|lasted| lasted < SHORT), poller)?
            .watch(poller, asked)
    }

    fn change<T>(mut self, networks: &NetworkPlan, poller: &Poller<T>, asked: T) -> Option<Self>
    where
        T: Into<u64> + From<u64> + Copy,
    {
        let news = self.service.change(networks);
        let told = match (&self.server, news) {
            (Some((server, _)), Some(news)) => server.tell(&news),
            _ => Ok(()),
        };
        if told.is_ok() {
            return Some(self);
        }
        // One that does not listen is replaced.
        self.dismiss(poller);
        self.watch(poller, asked)
    }

    fn close<T: Into<u64> + From<u64>>(mut self, poller: &Poller<T>) {
        self.unwatch(poller);
        self.dismiss(poller);
    }

    fn unless<T: Into<u64> + From<u64>>(self, given_up: bool, poller: &Poller<T>) -> Option<Self> {
        if given_up {
            self.close(poller);
            return None;
        }
        Some(self)
    }

    /// How long it was there.
    fn dismiss<T: Into<u64> + From<u64>>(&mut self, poller: &Poller<T>) -> Option<Duration> {
        let (worker, began) = self.server.take()?;
        poller.remove(&worker);
        worker.kill();
        Some(began.elapsed())
    }

    fn unwatch<T: Into<u64> + From<u64>>(&self, poller: &Poller<T>) {
        for socket in self.service.sockets() {
            poller.remove(socket);
        }
    }
}
