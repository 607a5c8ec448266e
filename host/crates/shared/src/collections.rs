//! Dicts, lists and namespaces.

use wasmtime::component::Resource;

use super::bindings::collections::{Dict, Entry, Host, HostDict, HostList, HostNamespace, List, Namespace};
use super::refusal::{ObjectKind, Refusal};
use super::{InstanceObjects, plain_drop, reply};
use wasmpool_objects::operation::{Operation, Reply};

impl Host for InstanceObjects {}

impl HostDict for InstanceObjects {
    fn open(&mut self, name: String) -> Result<Resource<Dict>, Refusal> {
        InstanceObjects::open(self, &name, ObjectKind::Dict).map(Resource::new_own)
    }

    fn get(&mut self, dict: Resource<Dict>, key: String) -> Result<Option<Entry>, Refusal> {
        reply!(
            self.ask(dict.rep(), Operation::DictGet(key), None)?,
            Reply::Entry(entry) => entry.map(|(value, version)| Entry { value, version })
        )
    }

    fn set(&mut self, dict: Resource<Dict>, key: String, value: Vec<u8>) -> Result<u64, Refusal> {
        reply!(self.ask(dict.rep(), Operation::DictSet(key, value), None)?, Reply::Number(version) => version)
    }

    fn compare_and_set(
        &mut self,
        dict: Resource<Dict>,
        key: String,
        version: Option<u64>,
        value: Vec<u8>,
    ) -> Result<Option<u64>, Refusal> {
        let operation = Operation::DictCompareAndSet { key, version, value };
        reply!(self.ask(dict.rep(), operation, None)?, Reply::MaybeNumber(version) => version)
    }

    fn pop(&mut self, dict: Resource<Dict>, key: String) -> Result<Option<Vec<u8>>, Refusal> {
        reply!(self.ask(dict.rep(), Operation::DictPop(key), None)?, Reply::MaybeBytes(value) => value)
    }

    fn contains(&mut self, dict: Resource<Dict>, key: String) -> Result<bool, Refusal> {
        reply!(self.ask(dict.rep(), Operation::DictContains(key), None)?, Reply::Bool(contains) => contains)
    }

    fn increment(&mut self, dict: Resource<Dict>, key: String, by: i64) -> Result<i64, Refusal> {
        reply!(self.ask(dict.rep(), Operation::DictIncrement(key, by), None)?, Reply::Signed(sum) => sum)
    }

    fn length(&mut self, dict: Resource<Dict>) -> Result<u64, Refusal> {
        reply!(self.ask(dict.rep(), Operation::Length, None)?, Reply::Number(length) => length)
    }

    fn clear(&mut self, dict: Resource<Dict>) -> Result<(), Refusal> {
        reply!(self.ask(dict.rep(), Operation::Empty, None)?, Reply::Done => ())
    }

    fn page(
        &mut self,
        dict: Resource<Dict>,
        after: Option<String>,
        most: u32,
    ) -> Result<Vec<(String, Vec<u8>)>, Refusal> {
        reply!(self.ask(dict.rep(), Operation::DictPage { after, most }, None)?, Reply::Page(page) => page)
    }

    fn set_many(&mut self, dict: Resource<Dict>, entries: Vec<(String, Vec<u8>)>) -> Result<(), Refusal> {
        reply!(self.ask(dict.rep(), Operation::DictSetMany(entries), None)?, Reply::Done => ())
    }

    plain_drop!(Dict);
}

impl HostList for InstanceObjects {
    fn open(&mut self, name: String) -> Result<Resource<List>, Refusal> {
        InstanceObjects::open(self, &name, ObjectKind::List).map(Resource::new_own)
    }

    fn get(&mut self, list: Resource<List>, index: i64) -> Result<Vec<u8>, Refusal> {
        reply!(self.ask(list.rep(), Operation::ListGet(index), None)?, Reply::Bytes(value) => value)
    }

    fn set(&mut self, list: Resource<List>, index: i64, value: Vec<u8>) -> Result<(), Refusal> {
        reply!(self.ask(list.rep(), Operation::ListSet(index, value), None)?, Reply::Done => ())
    }

    fn compare_and_set(
        &mut self,
        list: Resource<List>,
        index: i64,
        expected: Vec<u8>,
        value: Vec<u8>,
    ) -> Result<bool, Refusal> {
        let operation = Operation::ListCompareAndSet { index, expected, value };
        reply!(self.ask(list.rep(), operation, None)?, Reply::Bool(replaced) => replaced)
    }

    fn push(&mut self, list: Resource<List>, value: Vec<u8>) -> Result<(), Refusal> {
        reply!(self.ask(list.rep(), Operation::ListExtend(vec![value]), None)?, Reply::Done => ())
    }

    fn extend(&mut self, list: Resource<List>, values: Vec<Vec<u8>>) -> Result<(), Refusal> {
        reply!(self.ask(list.rep(), Operation::ListExtend(values), None)?, Reply::Done => ())
    }

    fn insert(&mut self, list: Resource<List>, index: i64, value: Vec<u8>) -> Result<(), Refusal> {
        reply!(self.ask(list.rep(), Operation::ListInsert(index, value), None)?, Reply::Done => ())
    }

    fn pop(&mut self, list: Resource<List>, index: i64) -> Result<Vec<u8>, Refusal> {
        reply!(self.ask(list.rep(), Operation::ListPop(index), None)?, Reply::Bytes(value) => value)
    }

    fn length(&mut self, list: Resource<List>) -> Result<u64, Refusal> {
        reply!(self.ask(list.rep(), Operation::Length, None)?, Reply::Number(length) => length)
    }

    fn clear(&mut self, list: Resource<List>) -> Result<(), Refusal> {
        reply!(self.ask(list.rep(), Operation::Empty, None)?, Reply::Done => ())
    }

    fn range(&mut self, list: Resource<List>, start: u64, most: u32) -> Result<Vec<Vec<u8>>, Refusal> {
        reply!(self.ask(list.rep(), Operation::ListRange { start, most }, None)?, Reply::Many(values) => values)
    }

    plain_drop!(List);
}

impl HostNamespace for InstanceObjects {
    fn open(&mut self, name: String) -> Result<Resource<Namespace>, Refusal> {
        InstanceObjects::open(self, &name, ObjectKind::Namespace).map(Resource::new_own)
    }

    fn get(&mut self, namespace: Resource<Namespace>, name: String) -> Result<Option<Vec<u8>>, Refusal> {
        reply!(
            self.ask(namespace.rep(), Operation::DictGet(name), None)?,
            Reply::Entry(entry) => entry.map(|(value, _)| value)
        )
    }

    fn set(&mut self, namespace: Resource<Namespace>, name: String, value: Vec<u8>) -> Result<(), Refusal> {
        reply!(self.ask(namespace.rep(), Operation::DictSet(name, value), None)?, Reply::Number(_) => ())
    }

    fn delete(&mut self, namespace: Resource<Namespace>, name: String) -> Result<bool, Refusal> {
        reply!(self.ask(namespace.rep(), Operation::DictPop(name), None)?, Reply::MaybeBytes(value) => value.is_some())
    }

    fn names(&mut self, namespace: Resource<Namespace>) -> Result<Vec<String>, Refusal> {
        const PAGE: u32 = 10_000;
        let mut names = Vec::new();
        loop {
            let after = names.last().cloned();
            let page = self.ask(namespace.rep(), Operation::DictKeys { after, most: PAGE }, None)?;
            let page = reply!(page, Reply::Keys(page) => page)?;
            if page.is_empty() {
                return Ok(names);
            }
            names.extend(page);
        }
    }

    plain_drop!(Namespace);
}
