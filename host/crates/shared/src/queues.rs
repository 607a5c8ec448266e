//! Queues.

use wasmtime::component::Resource;

use super::bindings::queues::{Delivery, Host, HostQueue, Queue};
use super::refusal::{ObjectKind, Refusal};
use super::{InstanceObjects, plain_drop, reply};
use wasmpool_objects::operation::{Operation, Reply};

impl Host for InstanceObjects {}

impl HostQueue for InstanceObjects {
    fn open(&mut self, name: String) -> Result<Resource<Queue>, Refusal> {
        InstanceObjects::open(self, &name, ObjectKind::Queue).map(Resource::new_own)
    }

    fn put(&mut self, queue: Resource<Queue>, message: Vec<u8>, timeout: Option<u64>) -> Result<(), Refusal> {
        reply!(self.ask(queue.rep(), Operation::Put(message), timeout)?, Reply::Done => ())
    }

    fn get(&mut self, queue: Resource<Queue>, timeout: Option<u64>) -> Result<Vec<u8>, Refusal> {
        self.get_one(queue.rep(), timeout)
    }

    fn get_many(&mut self, queue: Resource<Queue>, most: u32, timeout: Option<u64>) -> Result<Vec<Vec<u8>>, Refusal> {
        self.get_several(queue.rep(), most, timeout)
    }

    fn take(&mut self, queue: Resource<Queue>, timeout: Option<u64>) -> Result<Delivery, Refusal> {
        reply!(
            self.ask(queue.rep(), Operation::Take, timeout)?,
            Reply::Delivery { id, item, redelivered } => Delivery { id, item, redelivered }
        )
    }

    fn finish(&mut self, queue: Resource<Queue>, delivery: u64) -> Result<(), Refusal> {
        reply!(self.ask(queue.rep(), Operation::Finish(delivery), None)?, Reply::Done => ())
    }

    fn give_back(&mut self, queue: Resource<Queue>, delivery: u64) -> Result<(), Refusal> {
        reply!(self.ask(queue.rep(), Operation::GiveBack(delivery), None)?, Reply::Done => ())
    }

    fn task_done(&mut self, queue: Resource<Queue>) -> Result<(), Refusal> {
        reply!(self.ask(queue.rep(), Operation::TaskDone, None)?, Reply::Done => ())
    }

    fn join(&mut self, queue: Resource<Queue>, timeout: Option<u64>) -> Result<bool, Refusal> {
        reply!(self.ask(queue.rep(), Operation::JoinQueue, timeout)?, Reply::Bool(done) => done)
    }

    fn size(&mut self, queue: Resource<Queue>) -> Result<u64, Refusal> {
        reply!(self.ask(queue.rep(), Operation::Size, None)?, Reply::Number(size) => size)
    }

    fn empty(&mut self, queue: Resource<Queue>) -> Result<bool, Refusal> {
        reply!(self.ask(queue.rep(), Operation::IsEmpty, None)?, Reply::Bool(empty) => empty)
    }

    fn full(&mut self, queue: Resource<Queue>) -> Result<bool, Refusal> {
        reply!(self.ask(queue.rep(), Operation::IsFull, None)?, Reply::Bool(full) => full)
    }

    fn shutdown(&mut self, queue: Resource<Queue>, immediately: bool) -> Result<(), Refusal> {
        reply!(self.ask(queue.rep(), Operation::Shutdown { immediately }, None)?, Reply::Done => ())
    }

    plain_drop!(Queue);
}
