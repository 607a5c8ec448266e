//! Events outside of the host and of running workers: reads and writes, calls, signals and changes of the number of
//! workers.

use super::{Event, Mail, Simulation};
use wasmpool_scheduler::WorkerId;

impl Simulation {
    /// Handles an event outside of the host and of running workers.
    pub(super) fn disturb(&mut self, event: Event) {
        match event {
            Event::Continue { worker } => self.go_on(worker),
            Event::Dies { worker } => self.die(worker),
            Event::Signal => {
                self.signal();
                self.schedule_signal();
            }
            Event::Read if self.read < self.world.left_items() => self.post(Mail::TakenUp),
            Event::Read => {
                let count = self.random.between(1, self.world.input.burst).min(self.world.items - self.read);
                self.post(if count == 0 { Mail::InputEnd } else { Mail::Input(count) });
            }
            Event::Written => {
                let bytes = self.to_write.pop_front().unwrap_or_default();
                self.written += bytes;
                let closed = self.world.output.closes_after.is_some_and(|after| self.written > after);
                self.post(if closed { Mail::OutputClosed } else { Mail::Written(bytes) });
                self.write_next();
            }
            Event::Call => self.call(),
            Event::CallerLeaves => {
                self.leave();
                self.schedule_leave();
            }
            Event::Resize(workers) => {
                self.post(Mail::Workers(workers));
                self.schedule_resize();
            }
            Event::Stop => self.post(Mail::Stop),
            Event::HostStops => {
                self.stopped_until = self.now + self.random.time(self.world.config.timeout * 4);
                if let Some(at) = self.wake_at {
                    self.wake_by(at);
                }
                self.schedule_host_stop();
            }
            Event::Step { .. } | Event::Wake { .. } => {}
        }
    }

    pub(super) fn schedule_signal(&mut self) {
        if let Some(every) = self.world.faults.signal_every
            && self.signals_left > 0
        {
            self.signals_left -= 1;
            let at = self.now + self.random.time(every * 2);
            self.schedule(at, Event::Signal);
        }
    }

    pub(super) fn schedule_resize(&mut self) {
        if let Some(every) = self.world.resized_every
            && self.resizes_left > 0
        {
            self.resizes_left -= 1;
            let at = self.now + self.random.time(every * 2);
            // There may be none at all only for a time.
            let least = if self.resizes_left > 0 { 0 } else { 1 };
            let workers = self.random.between(least, 2 * self.world.config.workers as u64) as usize;
            self.schedule(at, Event::Resize(workers));
        }
    }

    pub(super) fn schedule_host_stop(&mut self) {
        if let Some(every) = self.world.faults.host_stops_every
            && self.stops_left > 0
        {
            self.stops_left -= 1;
            let at = self.now.max(self.stopped_until) + self.random.time(every * 2);
            self.schedule(at, Event::HostStops);
        }
    }

    // ---- callers -----------------------------------------------------------------------------------------------------

    pub(super) fn next_caller(&mut self) {
        self.caller_comes = true;
        let at = self.now + self.random.time(self.world.input.pause);
        self.schedule(at, Event::Call);
    }

    /// Brings the items of a caller; after the last caller the service ends.
    fn call(&mut self) {
        self.caller_comes = false;
        let count = self.random.between(1, self.world.input.burst).min(self.world.items - self.called);
        if count == 0 {
            self.caller_comes = true;
            return self.post(Mail::InputEnd);
        }
        self.figures.calls += 1;
        if self.ledger.emitted() < self.called && !std::mem::replace(&mut self.several_callers, true) {
            self.post(Mail::SeveralCallers(true));
        }
        self.called += count;
        self.give();
        let one_by_one = self.world.callers.as_ref().is_some_and(|callers| callers.one_by_one);
        if !one_by_one && self.called < self.world.items {
            self.next_caller();
        }
    }

    pub(super) fn schedule_leave(&mut self) {
        let every = self.world.callers.as_ref().and_then(|callers| callers.leave_every);
        if let Some(every) = every
            && self.leaves_left > 0
        {
            self.leaves_left -= 1;
            let at = self.now + self.random.time(every * 2);
            self.schedule(at, Event::CallerLeaves);
        }
    }

    /// Gives up a random range of the items that the host was given; items before its end are not given up later.
    fn leave(&mut self) {
        if self.left_to < self.given {
            let start = self.random.between(self.left_to, self.given - 1);
            let end = (start + self.random.magnitude(50).max(1)).min(self.given);
            self.left_to = end;
            self.post(Mail::Unwanted(start..end));
        }
    }

    /// Gives the host the items that it asked for, if there are any.
    pub(super) fn give(&mut self) {
        let count = self.wanted.min(self.called - self.given);
        if count > 0 {
            self.wanted = 0;
            self.given += count;
            self.post(Mail::Input(count));
            if self.given == self.called {
                self.post(Mail::InputPause);
            }
        }
    }

    /// Schedules the next caller once all items that callers brought were answered.
    pub(super) fn hear_answers(&mut self) {
        if self.world.callers.is_none() || self.ledger.emitted() < self.called {
            return;
        }
        if std::mem::take(&mut self.several_callers) {
            self.post(Mail::SeveralCallers(false));
        }
        if !self.caller_comes {
            self.next_caller();
        }
    }

    /// Kills or stops a worker, whatever it is doing.
    fn signal(&mut self) {
        let (Some((&first, _)), Some((&last, _))) = (self.workers.first_key_value(), self.workers.last_key_value())
        else {
            return;
        };
        let from = self.random.between(first.into(), last.into()) as WorkerId;
        let Some((&id, _)) = self.workers.range(from..).next() else {
            return;
        };
        self.figures.signals += 1;
        let now = self.now;
        let kind = self.random.below(100);
        if kind < 50 {
            return self.die(id);
        }
        if let Some((worker, _)) = self.workers.get_mut(&id)
            && !worker.stopped
            && !worker.dead
        {
            worker.stop(now);
            if kind < 90 {
                let at = now + self.random.time(self.world.config.timeout * 2);
                self.schedule(at, Event::Continue { worker: id });
            }
        }
    }
}
