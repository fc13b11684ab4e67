//! The parent's part: it watches the sockets while nobody serves them, and has them served when something is asked.

use std::time::{Duration, Instant};

use super::server;
use super::{NameService, Sockets};
use crate::launch::Worker;
use crate::poller::Poller;

/// A server that ends sooner has failed, and another would, too.
const SHORT: Duration = Duration::from_secs(1);

/// What cannot go on is given up: then whoever asks is refused at once.
pub struct Attendant {
    service: NameService,
    sockets: Sockets,
    server: Option<(Worker, Instant)>,
}

impl Attendant {
    pub fn new(service: NameService, sockets: Sockets) -> Self {
        Attendant {
            service,
            sockets,
            server: None,
        }
    }

    /// Watches for questions.
    pub fn watch<T>(self, poller: &Poller<T>, questions: T) -> Option<Self>
    where
        T: Into<u64> + From<u64> + Copy,
    {
        let watched = self
            .sockets
            .descriptors()
            .iter()
            .try_for_each(|socket| poller.add(socket, questions));
        self.unless(watched.is_err(), poller)
    }

    /// Something was asked: from here on a server watches, until `end` tells of its end.
    pub fn serve<T: Into<u64> + From<u64>>(mut self, poller: &Poller<T>, end: T) -> Option<Self> {
        self.unwatch(poller);
        let forked = Worker::fork(&self.sockets.numbers(), |parent| {
            server::run(&self.service, &self.sockets, parent)
        });
        let watched = forked.and_then(|worker| {
            let watched = poller.add(&worker, end);
            self.server = Some((worker, Instant::now()));
            watched
        });
        self.unless(watched.is_err(), poller)
    }

    /// The server has ended.
    pub fn served<T>(mut self, poller: &Poller<T>, questions: T) -> Option<Self>
    where
        T: Into<u64> + From<u64> + Copy,
    {
        let lasted = self.dismiss(poller);
        self.unless(lasted.is_some_and(|lasted| lasted < SHORT), poller)?
            .watch(poller, questions)
    }

    /// From the next question on it answers so.
    pub fn change<T>(
        mut self,
        service: NameService,
        poller: &Poller<T>,
        questions: T,
    ) -> Option<Self>
    where
        T: Into<u64> + From<u64> + Copy,
    {
        let told = match &self.server {
            Some((server, _)) => server.tell(&service),
            None => Ok(()),
        };
        self.service = service;
        if told.is_ok() {
            return Some(self);
        }
        // One that does not listen is replaced.
        self.dismiss(poller);
        self.watch(poller, questions)
    }

    /// Ends the service: with the last socket in it the container's network namespace goes.
    pub fn close<T: Into<u64> + From<u64>>(mut self, poller: &Poller<T>) {
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
        for socket in self.sockets.descriptors() {
            poller.remove(socket);
        }
    }
}
