//! `wasi:config`, whose settings are the variables that were granted with `--env`, and `wasi:logging`, whose messages go to
//! standard error.

use wasmtime::component::{ComponentType, HasSelf, Lift, Linker};

use super::charges;
use super::denied::MissedGrant;
use super::state::StoreState;
use wasmpool_core::text::ForeignText;

mod generated {
    wasmtime::component::bindgen!({
        path: "../../../wit/wasi/config.wit",
        world: "wasi:config/imports",
        imports: { default: trappable },
    });
}

use generated::wasi::config::store;

/// The interfaces that are provided, each in the version that components are built with.
const CONFIG: &str = "wasi:config/store@0.2.0-rc.1";
const LOGGING: [&str; 2] = ["wasi:logging/logging@0.1.0-draft", "wasi:logging/logging"];

/// Returns true if this is one of the interfaces here.
pub fn provides(interface: &str) -> bool {
    interface == CONFIG || LOGGING.contains(&interface)
}

/// Defines the interface.
pub fn link(linker: &mut Linker<StoreState>, interface: &str) -> wasmtime::Result<()> {
    if interface == CONFIG {
        return store::add_to_linker::<_, HasSelf<StoreState>>(linker, |state| state);
    }
    linker.instance(interface)?.func_wrap("log", |mut store, params| {
        let (level, context, message): (LogLevel, String, String) = params;
        let state: &mut StoreState = store.data_mut();
        state.meter.call()?;
        state.meter.bytes(context.len() + message.len())?;
        let context = match context.is_empty() {
            true => String::new(),
            false => format!(" [{}]", ForeignText::of(&context)),
        };
        state.print(true, &format!("{}{context}: {message}\n", level.name()));
        Ok(())
    })
}

/// How important a message is.
#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[expect(dead_code, reason = "the runtime makes each from its number")]
#[component(enum)]
#[repr(u8)]
enum LogLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

impl LogLevel {
    fn name(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
            LogLevel::Critical => "critical",
        }
    }
}

impl store::Host for StoreState {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        self.meter.call()?;
        self.meter.bytes(key.len())?;
        let setting = self.variables().iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
        match &setting {
            Some(value) => self.meter.bytes(value.len())?,
            None => self.miss(MissedGrant::Environment),
        }
        Ok(Ok(setting))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        self.meter.call()?;
        charges::told(self)?;
        if self.variables().is_empty() {
            self.miss(MissedGrant::Environment);
        }
        Ok(Ok(self.variables().to_vec()))
    }
}
