//! Locks, semaphores, events, conditions and barriers.

use wasmtime::component::Resource;

use super::bindings::sync::{
    Barrier, Condition, Event, Host, HostBarrier, HostCondition, HostEvent, HostLock, HostRlock, HostSemaphore, Lock,
    Rlock, Semaphore,
};
use super::bindings::types::Acquisition;
use super::refusal::{ObjectKind, Refusal};
use super::{InstanceObjects, plain_drop, reply};
use wasmpool_objects::operation::{self, Operation, Reply};

impl Host for InstanceObjects {}

impl InstanceObjects {
    fn acquire(&mut self, place: u32, timeout: Option<u64>) -> Result<Acquisition, Refusal> {
        let acquired = self.ask(place, Operation::Acquire, timeout)?;
        reply!(acquired, Reply::Acquired(acquisition) => match acquisition {
            operation::Acquisition::Acquired => Acquisition::Acquired,
            operation::Acquisition::Abandoned(by) => Acquisition::Abandoned(by),
            operation::Acquisition::TimedOut => Acquisition::TimedOut,
        })
    }

    fn do_now(&mut self, place: u32, operation: Operation) -> Result<(), Refusal> {
        reply!(self.ask(place, operation, None)?, Reply::Done => ())
    }

    fn is(&mut self, place: u32, operation: Operation, timeout: Option<u64>) -> Result<bool, Refusal> {
        reply!(self.ask(place, operation, timeout)?, Reply::Bool(is) => is)
    }

    fn total(&mut self, place: u32, operation: Operation, timeout: Option<u64>) -> Result<u64, Refusal> {
        reply!(self.ask(place, operation, timeout)?, Reply::Number(number) => number)
    }

    fn count(&mut self, place: u32, operation: Operation, timeout: Option<u64>) -> Result<u32, Refusal> {
        // There are no more parties than participants.
        self.total(place, operation, timeout).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }
}

impl HostLock for InstanceObjects {
    fn open(&mut self, name: String) -> Result<Resource<Lock>, Refusal> {
        InstanceObjects::open(self, &name, ObjectKind::Lock).map(Resource::new_own)
    }

    fn acquire(&mut self, lock: Resource<Lock>, timeout: Option<u64>) -> Result<Acquisition, Refusal> {
        InstanceObjects::acquire(self, lock.rep(), timeout)
    }

    fn release(&mut self, lock: Resource<Lock>) -> Result<(), Refusal> {
        self.do_now(lock.rep(), Operation::Release)
    }

    fn locked(&mut self, lock: Resource<Lock>) -> Result<bool, Refusal> {
        self.is(lock.rep(), Operation::IsLocked, None)
    }

    fn token(&mut self, lock: Resource<Lock>) -> Result<u64, Refusal> {
        self.total(lock.rep(), Operation::Token, None)
    }

    plain_drop!(Lock);
}

impl HostRlock for InstanceObjects {
    fn open(&mut self, name: String) -> Result<Resource<Rlock>, Refusal> {
        InstanceObjects::open(self, &name, ObjectKind::Rlock).map(Resource::new_own)
    }

    fn acquire(&mut self, lock: Resource<Rlock>, timeout: Option<u64>) -> Result<Acquisition, Refusal> {
        InstanceObjects::acquire(self, lock.rep(), timeout)
    }

    fn release(&mut self, lock: Resource<Rlock>) -> Result<(), Refusal> {
        self.do_now(lock.rep(), Operation::Release)
    }

    fn locked(&mut self, lock: Resource<Rlock>) -> Result<bool, Refusal> {
        self.is(lock.rep(), Operation::IsLocked, None)
    }

    fn token(&mut self, rlock: Resource<Rlock>) -> Result<u64, Refusal> {
        self.total(rlock.rep(), Operation::Token, None)
    }

    plain_drop!(Rlock);
}

impl HostSemaphore for InstanceObjects {
    fn open(&mut self, name: String) -> Result<Resource<Semaphore>, Refusal> {
        InstanceObjects::open(self, &name, ObjectKind::Semaphore).map(Resource::new_own)
    }

    fn acquire(&mut self, semaphore: Resource<Semaphore>, timeout: Option<u64>) -> Result<Acquisition, Refusal> {
        InstanceObjects::acquire(self, semaphore.rep(), timeout)
    }

    fn release(&mut self, semaphore: Resource<Semaphore>) -> Result<(), Refusal> {
        self.do_now(semaphore.rep(), Operation::Release)
    }

    fn slots(&mut self, semaphore: Resource<Semaphore>) -> Result<u64, Refusal> {
        self.total(semaphore.rep(), Operation::Slots, None)
    }

    fn token(&mut self, semaphore: Resource<Semaphore>) -> Result<u64, Refusal> {
        self.total(semaphore.rep(), Operation::Token, None)
    }

    plain_drop!(Semaphore);
}

impl HostEvent for InstanceObjects {
    fn open(&mut self, name: String) -> Result<Resource<Event>, Refusal> {
        InstanceObjects::open(self, &name, ObjectKind::Event).map(Resource::new_own)
    }

    fn is_set(&mut self, event: Resource<Event>) -> Result<bool, Refusal> {
        self.is(event.rep(), Operation::IsSet, None)
    }

    fn set(&mut self, event: Resource<Event>) -> Result<(), Refusal> {
        self.do_now(event.rep(), Operation::Set)
    }

    fn clear(&mut self, event: Resource<Event>) -> Result<(), Refusal> {
        self.do_now(event.rep(), Operation::Clear)
    }

    fn wait(&mut self, event: Resource<Event>, timeout: Option<u64>) -> Result<bool, Refusal> {
        self.is(event.rep(), Operation::WaitEvent, timeout)
    }

    plain_drop!(Event);
}

impl HostCondition for InstanceObjects {
    fn open(&mut self, name: String) -> Result<Resource<Condition>, Refusal> {
        InstanceObjects::open(self, &name, ObjectKind::Condition).map(Resource::new_own)
    }

    fn acquire(&mut self, condition: Resource<Condition>, timeout: Option<u64>) -> Result<Acquisition, Refusal> {
        InstanceObjects::acquire(self, condition.rep(), timeout)
    }

    fn release(&mut self, condition: Resource<Condition>) -> Result<(), Refusal> {
        self.do_now(condition.rep(), Operation::Release)
    }

    fn wait(&mut self, condition: Resource<Condition>, timeout: Option<u64>) -> Result<bool, Refusal> {
        self.is(condition.rep(), Operation::WaitCondition, timeout)
    }

    fn notify(&mut self, condition: Resource<Condition>, most: u32) -> Result<(), Refusal> {
        self.do_now(condition.rep(), Operation::Notify { most })
    }

    fn notify_all(&mut self, condition: Resource<Condition>) -> Result<(), Refusal> {
        self.do_now(condition.rep(), Operation::Notify { most: u32::MAX })
    }

    fn token(&mut self, condition: Resource<Condition>) -> Result<u64, Refusal> {
        self.total(condition.rep(), Operation::Token, None)
    }

    plain_drop!(Condition);
}

impl HostBarrier for InstanceObjects {
    fn open(&mut self, name: String) -> Result<Resource<Barrier>, Refusal> {
        InstanceObjects::open(self, &name, ObjectKind::Barrier).map(Resource::new_own)
    }

    fn parties(&mut self, barrier: Resource<Barrier>) -> Result<u32, Refusal> {
        self.count(barrier.rep(), Operation::Parties, None)
    }

    fn waiting(&mut self, barrier: Resource<Barrier>) -> Result<u32, Refusal> {
        self.count(barrier.rep(), Operation::Waiting, None)
    }

    fn is_broken(&mut self, barrier: Resource<Barrier>) -> Result<bool, Refusal> {
        self.is(barrier.rep(), Operation::IsBroken, None)
    }

    fn wait(&mut self, barrier: Resource<Barrier>, timeout: Option<u64>) -> Result<u32, Refusal> {
        self.count(barrier.rep(), Operation::WaitBarrier, timeout)
    }

    fn abort(&mut self, barrier: Resource<Barrier>) -> Result<(), Refusal> {
        self.do_now(barrier.rep(), Operation::Abort)
    }

    fn reset(&mut self, barrier: Resource<Barrier>) -> Result<(), Refusal> {
        self.do_now(barrier.rep(), Operation::Reset)
    }

    plain_drop!(Barrier);
}
