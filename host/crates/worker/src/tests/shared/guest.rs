//! Workers in this process that run `guest/fixtures/shared`.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use wasmtime::component::{Component, Instance, Linker, TypedFunc};
use wasmtime::{Engine, OptLevel, Store};

use super::local::LocalMachine;
use crate::engine;
use crate::load;

use wasmpool_core::artifact::EngineProfile;
use wasmpool_core::guest_grants::GuestGrants;
use wasmpool_core::policy::{ItemLimits, TaskCall};
use wasmpool_core::share::{ObjectForm, ObjectGrant, ObjectQuota, ObjectRights, ObjectSpec, SharedGrants};
use wasmpool_imports::meter::Meter;
use wasmpool_imports::state::{OutputCapture, StoreState};
use wasmpool_imports::wasi::Wasi;
use wasmpool_ipc::cells::{self, Cells};
use wasmpool_shared::{Objects, SharedObjects};

/// The fixture, as each engine has it.
struct Fixture {
    engine: Engine,
    component: Component,
    linker: Linker<StoreState>,
}

impl Fixture {
    /// Returns the fixture with or without counted instructions, compiled once for all tests.
    fn get(fuel: bool) -> &'static Fixture {
        static PLAIN: OnceLock<Fixture> = OnceLock::new();
        static COUNTED: OnceLock<Fixture> = OnceLock::new();
        let made = if fuel { &COUNTED } else { &PLAIN };
        made.get_or_init(|| {
            let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../guest/target/wasm32-wasip2/release");
            let mut config = engine::config(EngineProfile { fuel, ..EngineProfile::default() });
            // Each test may be a process of its own, and compiles it anew.
            config.cranelift_opt_level(OptLevel::None);
            let engine = Engine::new(&config).unwrap();
            let component =
                Component::from_file(&engine, guests.join("shared.wasm")).expect("make rust-guests has run");
            let limits = ItemLimits { fuel: fuel.then_some(1), ..ItemLimits::default() };
            let call = TaskCall { limits, ..TaskCall::default() };
            let linker = load::link_component(&engine, &component, &call, false).unwrap();
            Fixture { engine, component, linker }
        })
    }
}

/// The objects of a run.
pub struct World {
    specs: Vec<ObjectSpec>,
    machine: Arc<LocalMachine>,
    memory: Vec<Option<OwnedFd>>,
}

impl World {
    pub fn of(objects: &[(&str, ObjectForm)]) -> World {
        World::with_bytes(objects, ObjectQuota::default().bytes)
    }

    /// Returns a world whose objects have a quota of this many bytes.
    pub fn with_bytes(objects: &[(&str, ObjectForm)], bytes: u64) -> World {
        let quota = ObjectQuota { bytes, ..ObjectQuota::default() };
        let spec =
            |(name, form): &(&str, ObjectForm)| ObjectSpec { name: (*name).to_owned(), form: form.clone(), quota };
        let specs: Vec<ObjectSpec> = objects.iter().map(spec).collect();
        let memory = |spec: &ObjectSpec| match spec.form {
            ObjectForm::Value(of) => Some(cells::create(of, 1).unwrap()),
            ObjectForm::Array(of, len) => Some(cells::create(of, len).unwrap()),
            _ => None,
        };
        World { memory: specs.iter().map(memory).collect(), machine: LocalMachine::new(specs.clone()), specs }
    }

    pub fn worker(&self, name: &str) -> Worker {
        self.worker_with(name, ObjectRights::ALL)
    }

    pub fn worker_with(&self, name: &str, rights: ObjectRights) -> Worker {
        let grant = |(object, spec): (u16, &ObjectSpec)| ObjectGrant { object, spec: spec.clone(), rights };
        let objects: Vec<ObjectGrant> = (0..).zip(&self.specs).map(grant).collect();
        let way = Box::new(self.machine.join(name, &objects)) as Box<dyn Objects>;
        let cells = self.specs.iter().zip(&self.memory).filter_map(|(spec, memory)| {
            let memory = memory.as_ref()?;
            let readable = cells::read_only(memory).unwrap();
            let fd = if rights.second { memory } else { &readable };
            Some(match spec.form {
                ObjectForm::Array(of, len) => Cells::open(fd, of, len).unwrap(),
                ObjectForm::Value(of) => Cells::open(fd, of, 1).unwrap(),
                _ => unreachable!(),
            })
        });
        let cells = cells.collect();
        let name = (!name.is_empty()).then(|| name.to_owned());
        let shared =
            Arc::new(SharedObjects::new(SharedGrants { name, objects, ..SharedGrants::default() }, cells, Some(way)));
        Worker { shared, fuel: None, live: None }
    }

    /// Ends what keeps the objects.
    pub fn lose(&self) {
        self.machine.lose();
    }
}

/// A participant that runs items, all in the same instance until one traps.
pub struct Worker {
    shared: Arc<SharedObjects>,
    fuel: Option<u64>,
    live: Option<(Store<StoreState>, Instance)>,
}

impl Worker {
    pub fn shared(&self) -> &SharedObjects {
        &self.shared
    }

    pub fn limit_fuel(&mut self, fuel: u64) {
        self.fuel = Some(fuel);
    }

    /// Drops the instance.
    pub fn discard(&mut self) {
        self.live = None;
    }

    /// Runs an item, and checks its answer.
    #[track_caller]
    pub fn answers(&mut self, orders: &str, answer: &str) {
        assert_eq!(self.act(orders).as_deref(), Ok(answer), "{orders}");
    }

    /// Runs an item. The error is the guest's, or that of its end.
    pub fn act(&mut self, orders: &str) -> Result<String, String> {
        self.item("act", (orders.to_owned(),))
    }

    pub fn count(&mut self, name: &str, times: u64) {
        self.try_count(name, times).unwrap();
    }

    pub fn try_count(&mut self, name: &str, times: u64) -> Result<i64, String> {
        self.item("count", (name.to_owned(), times))
    }

    /// Returns what the instance asked for without being granted it.
    pub fn missed(&mut self) -> Vec<String> {
        let (store, _) = self.live.as_mut().unwrap();
        store.data_mut().take_printed();
        wasmpool_imports::denied::list(&store.data().missed(None))
    }

    fn item<P, R>(&mut self, function: &str, params: P) -> Result<R, String>
    where
        P: wasmtime::component::ComponentNamedList + wasmtime::component::Lower,
        R: wasmtime::component::Lift + wasmtime::component::ComponentType + Send + Sync + 'static,
    {
        let (mut store, instance) = self.live.take().unwrap_or_else(|| self.instantiate());
        if let Some(fuel) = self.fuel {
            store.data().meter.reset(0);
            store.set_fuel(fuel).unwrap();
        }
        let function: TypedFunc<P, (Result<R, String>,)> = instance.get_typed_func(&mut store, function).unwrap();
        let called = Meter::during(&mut store, |store| function.call(store, params));
        let result = match called {
            Ok((result,)) => {
                self.live = Some((store, instance));
                result
            }
            Err(e) => Err(format!("{e:?}")),
        };
        self.shared.item_ended(result.is_err());
        result
    }

    fn instantiate(&self) -> (Store<StoreState>, Instance) {
        let Fixture { engine, component, linker } = Fixture::get(self.fuel.is_some());
        let given = GuestGrants { env: vec![("RATE".to_owned(), "5".to_owned())], ..GuestGrants::default() };
        let call = TaskCall { given, ..TaskCall::default() };
        let printers = [OutputCapture::default(), OutputCapture::default().with_end()];
        let wasi = Wasi::new(&call, std::iter::empty(), printers, Arc::clone(&self.shared)).unwrap();
        let limits = ItemLimits { fuel: self.fuel, ..ItemLimits::default() };
        let mut store = Store::new(engine, StoreState::new(&limits, wasi, None));
        store.limiter(|state| &mut state.limiter);
        if let Some(fuel) = self.fuel {
            store.set_fuel(fuel).unwrap();
        }
        let instance = linker.instantiate(&mut store, component).unwrap();
        (store, instance)
    }
}
