//! The exports of a task, and the choice of the one that a user means.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Type};
use wasmtime::{Engine, ExternType, FuncType, Module, ValType};

use crate::added;
use crate::value::TypePlan;
use wasmpool_core::artifact;
use wasmpool_core::setting::Setting;
use wasmpool_core::similar::nearest;
use wasmpool_core::text::{QuotedName, few, shown};
use wasmpool_imports::link::unversioned;

/// An exported function.
#[derive(Debug)]
pub struct TaskExport {
    /// The interface that it is in, with package and version.
    pub interface: Option<String>,
    pub name: String,
    pub params: Vec<(String, TypePlan)>,
    pub result: Option<TypePlan>,
    /// The reason why it cannot be called with values, if so; `params` and `result` are then incomplete.
    pub unsupported: Option<UnsupportedFunction>,
    pub is_async: bool,
    /// True for a function of a core module, whose numbers have core types.
    pub is_core: bool,
}

/// Number of functions that a message lists.
const LISTED: usize = 20;
/// Functions that toolchains add and no user calls.
const PLUMBING: [&str; 18] = [
    "_start",
    "_initialize",
    "init",
    "malloc",
    "free",
    "calloc",
    "realloc",
    "cabi_realloc",
    "canonical_abi_realloc",
    "canonical_abi_free",
    "asyncify_start_unwind",
    "asyncify_stop_unwind",
    "fflush",
    "memalign",
    "setThrew",
    "stackAlloc",
    "stackRestore",
    "stackSave",
];
/// Beginnings of such names.
const PLUMBING_STARTS: [&str; 4] = ["__", "emscripten_", "_emscripten_", "dynCall_"];
/// Interfaces that toolchains add: componentize-py exports one of this name.
const PLUMBING_INTERFACES: [&str; 1] = ["exports"];

/// The reason why a function has a parameter or result for which there are no values.
#[derive(Debug)]
pub struct UnsupportedFunction {
    pub why: String,
    /// The whole type: parameters and result.
    ty: String,
}

impl TaskExport {
    /// Returns the name as a user would write it: `name` or `interface/name`.
    pub fn path(&self) -> String {
        match &self.interface {
            Some(interface) => format!("{interface}/{}", self.name),
            None => self.name.clone(),
        }
    }

    /// Returns the type as WIT text.
    pub fn signature(&self) -> String {
        let wit = |shape: &TypePlan| match self.is_core {
            true => core_text(shape),
            false => shape.wit(),
        };
        let ty = match &self.unsupported {
            Some(UnsupportedFunction { ty, .. }) => ty.clone(),
            None => {
                in_words(self.params.iter().map(|(name, shape)| (&**name, wit(shape))), self.result.as_ref().map(wit))
            }
        };
        let r#async = if self.is_async { "async " } else { "" };
        format!("{}: {async}func{ty}", shown(&self.path()))
    }

    /// Returns true if it runs a component that is a command.
    fn is_run(&self) -> bool {
        self.name == "run" && self.interface.as_deref().is_some_and(|i| unversioned(i) == "wasi:cli/run")
    }

    /// Returns the numbers in its interface's version.
    fn version(&self) -> Vec<u64> {
        let version = self.interface.as_deref().and_then(|interface| interface.split_once('@')).map_or("", |(_, v)| v);
        version.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
    }

    /// Returns true if a user would call it, and it was not added because a toolchain or WASI requires it.
    pub fn is_users(&self) -> bool {
        match self.interface.as_deref() {
            Some(i) => !i.starts_with("wasi:") && !PLUMBING_INTERFACES.contains(&i),
            None => {
                !PLUMBING.contains(&self.name.as_str())
                    && !PLUMBING_STARTS.iter().any(|start| self.name.starts_with(start))
            }
        }
    }

    /// Returns true if `wanted` names it: `name`, or `interface/name` with or without package and version, or WIT's `#`
    /// form.
    fn is_named(&self, wanted: &str) -> bool {
        artifact::is_named(self.interface.as_deref(), &self.name, wanted)
    }

    /// Returns the names of the fields of the record that it returns, if it returns one; and those of records in what it
    /// returns, one level further down each.
    pub fn fields(&self) -> [Vec<String>; 3] {
        let mut shape = match &self.result {
            Some(TypePlan::Result { ok, .. }) => ok.as_deref(),
            result => result.as_ref(),
        };
        let mut level = || {
            let (fields, next) = shape.map_or((Vec::new(), None), |shape| (fields(shape), shape.element()));
            shape = next;
            fields
        };
        [level(), level(), level()]
    }
}

/// Returns the names of the fields of a record, or of a record that there may be.
fn fields(shape: &TypePlan) -> Vec<String> {
    match shape {
        TypePlan::Record(fields) => fields.iter().map(|(name, _)| name.to_owned()).collect(),
        TypePlan::Option(inner) => match &**inner {
            TypePlan::Record(_) => fields(inner),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Returns the exported functions of a component, plain ones and those in interfaces.
pub fn of_component(component: &Component, engine: &Engine) -> Vec<TaskExport> {
    let ty = component.component_type();
    let mut exports = Vec::new();
    for (name, item) in ty.exports(engine) {
        match &item.ty {
            ComponentItem::ComponentFunc(func) => exports.push(of_func(None, name, func)),
            ComponentItem::ComponentInstance(instance) if name != added::INSTANCE => {
                for (inner, item) in instance.exports(engine) {
                    if let ComponentItem::ComponentFunc(func) = &item.ty {
                        exports.push(of_func(Some(name), inner, func));
                    }
                }
            }
            _ => {}
        }
    }
    exports
}

/// Returns a function's type as text, from the names and types of its parameters and the type of its result.
fn in_words<'a>(params: impl Iterator<Item = (&'a str, String)>, result: Option<String>) -> String {
    let params: Vec<String> = params.map(|(n, ty)| format!("{n}: {ty}")).collect();
    let result = result.map(|result| format!(" -> {result}")).unwrap_or_default();
    format!("({}){result}", params.join(", "))
}

fn of_func(interface: Option<&str>, name: &str, func: &wasmtime::component::types::ComponentFunc) -> TaskExport {
    let mut why = None;
    let mut shape =
        |what: &str, ty: &Type| TypePlan::of(ty).map_err(|e| why.get_or_insert(format!("{what} is {e}")).clone()).ok();
    let params: Vec<(String, TypePlan)> =
        func.params().filter_map(|(n, ty)| Some((n.to_owned(), shape(&format!("parameter `{n}`"), &ty)?))).collect();
    let result = func.results().next().and_then(|ty| shape("the result", &ty));
    let unsupported = why.map(|why| {
        let result = func.results().next().map(|ty| crate::value::spell(&ty));
        UnsupportedFunction {
            why,
            ty: in_words(func.params().map(|(name, ty)| (name, crate::value::spell(&ty))), result),
        }
    });
    TaskExport {
        interface: interface.map(str::to_owned),
        name: name.to_owned(),
        params,
        result,
        unsupported,
        is_async: func.async_(),
        is_core: false,
    }
}

/// Returns the exported functions of a core module, which only have numbers as parameters and results.
pub fn of_module(module: &Module) -> Vec<TaskExport> {
    module
        .exports()
        .filter_map(|export| match export.ty() {
            ExternType::Func(ty) if !added::is_added(export.name()) => Some(of_core_func(export.name(), &ty)),
            _ => None,
        })
        .collect()
}

fn of_core_func(name: &str, ty: &FuncType) -> TaskExport {
    let mut why = None;
    let mut shape = |ty: ValType| match ty {
        ValType::I32 => Some(TypePlan::S32),
        ValType::I64 => Some(TypePlan::S64),
        ValType::F32 => Some(TypePlan::F32),
        ValType::F64 => Some(TypePlan::F64),
        other => {
            why.get_or_insert_with(|| format!("it has a parameter or result of type {other}, which has no JSON form"));
            None
        }
    };
    let params = ty.params().enumerate().filter_map(|(i, ty)| Some((format!("p{i}"), shape(ty)?))).collect();
    let mut results: Vec<TypePlan> = ty.results().filter_map(shape).collect();
    let result = if results.len() > 1 { Some(TypePlan::Tuple(results)) } else { results.pop() };
    let unsupported = why.map(|why| {
        let names: Vec<String> = (0..ty.params().len()).map(|i| format!("p{i}")).collect();
        let params = names.iter().zip(ty.params()).map(|(name, ty)| (&**name, ty.to_string()));
        let mut results: Vec<String> = ty.results().map(|ty| ty.to_string()).collect();
        let result = if results.len() > 1 { Some(format!("({})", results.join(", "))) } else { results.pop() };
        UnsupportedFunction { why, ty: in_words(params, result) }
    });
    TaskExport { interface: None, name: name.to_owned(), params, result, unsupported, is_async: false, is_core: true }
}

/// Returns the name of a core type.
fn core_text(shape: &TypePlan) -> String {
    match shape {
        TypePlan::S32 => "i32".to_owned(),
        TypePlan::S64 => "i64".to_owned(),
        TypePlan::Tuple(shapes) => format!("({})", shapes.iter().map(core_text).collect::<Vec<_>>().join(", ")),
        other => other.wit(),
    }
}

/// The reason why it is not known which function to call. Functions are listed in `others` as text, one on a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The function has a parameter or result for which there are no values.
    #[error("the function {} cannot be called with values: {why}", QuotedName::of(.name))]
    Unsupported { name: String, why: String },
    /// The name is that of functions in several interfaces.
    #[error("{} could be any of these; name one in full:\n{others}", QuotedName::of(.wanted))]
    Ambiguous { wanted: String, others: String },
    /// No function has this name. One that has a similar name may be meant.
    #[error("the task has no function {}{}\n{}", QuotedName::of(.wanted), did_you_mean(.similar), exported(.others))]
    Unknown { wanted: String, similar: Option<String>, others: String },
    /// The task exports no function.
    #[error("the task exports no function")]
    NoFunction,
    /// The task exports no function that a user would call, and is a command.
    #[error(
        "the task exports no function to call; it is a WASI command, which wasmpool exec runs, and `command = []` in a run file"
    )]
    OnlyCommand,
    /// No function was named, and there are several.
    #[error("the task exports several functions; name one with {}:\n{others}", Setting::Function)]
    Several { others: String },
    /// The task is not a command.
    #[error("the task is not a WASI command: it exports neither `_start` nor `wasi:cli/run`{}", called(.others))]
    NoCommand { others: String },
}

fn did_you_mean(similar: &Option<String>) -> String {
    similar.as_ref().map_or_else(String::new, |name| format!("; did you mean {}?", QuotedName::of(name)))
}

fn exported(others: &str) -> String {
    match others {
        "" => "it exports no function at all".to_owned(),
        others => format!("it exports:\n{others}"),
    }
}

fn called(others: &str) -> String {
    match others {
        "" => String::new(),
        others => format!(
            "; its functions are called by wasmpool map, or by `function = \"NAME\"` in the file of a run:\n{others}"
        ),
    }
}

/// Returns the function that is meant: the one of that name, or the only one that a user would call.
pub fn choose<'a>(exports: &'a [TaskExport], wanted: Option<&str>) -> Result<&'a TaskExport, ExportError> {
    let chosen = match wanted {
        Some(wanted) => by_name(exports, wanted)?,
        None => the_only_one(exports)?,
    };
    match &chosen.unsupported {
        Some(UnsupportedFunction { why, .. }) => {
            Err(ExportError::Unsupported { name: chosen.path(), why: why.clone() })
        }
        None => Ok(chosen),
    }
}

fn by_name<'a>(exports: &'a [TaskExport], wanted: &str) -> Result<&'a TaskExport, ExportError> {
    // An exact name takes precedence over the same name inside an interface.
    if let Some(export) = exports.iter().find(|e| e.path() == wanted) {
        return Ok(export);
    }
    let named: Vec<&TaskExport> = exports.iter().filter(|e| e.is_named(wanted)).collect();
    match named.as_slice() {
        [one] => Ok(one),
        [] => Err(unknown(exports, wanted)),
        several => Err(ExportError::Ambiguous { wanted: wanted.to_owned(), others: list(several) }),
    }
}

fn unknown(exports: &[TaskExport], wanted: &str) -> ExportError {
    let names: Vec<String> = exports.iter().flat_map(|e| [e.path(), e.name.clone()]).collect();
    let similar = nearest(wanted, names.iter().map(String::as_str)).map(str::to_owned);
    let others = list(&exports.iter().filter(|e| e.is_users()).collect::<Vec<_>>());
    if others.is_empty() && is_command(exports) {
        return ExportError::OnlyCommand;
    }
    ExportError::Unknown { wanted: wanted.to_owned(), similar, others }
}

fn is_command(exports: &[TaskExport]) -> bool {
    exports.iter().any(|e| e.name == "_start" || e.path().starts_with("wasi:cli/run"))
}

fn the_only_one(exports: &[TaskExport]) -> Result<&TaskExport, ExportError> {
    let users: Vec<&TaskExport> = exports.iter().filter(|e| e.is_users()).collect();
    let callable: Vec<&TaskExport> = users.iter().copied().filter(|e| e.unsupported.is_none()).collect();
    match (users.as_slice(), callable.as_slice()) {
        ([one], _) | (_, [one]) => Ok(one),
        ([], _) => Err(if is_command(exports) { ExportError::OnlyCommand } else { ExportError::NoFunction }),
        (several, _) => Err(ExportError::Several { others: list(several) }),
    }
}

/// Returns the function that initialises an instance: `init`, if it can be called.
pub fn init(exports: &[TaskExport]) -> Option<&TaskExport> {
    let inits = || exports.iter().filter(|export| export.name == "init" && export.unsupported.is_none());
    let plain = inits().find(|export| export.interface.is_none());
    // A toolchain's interface may have one, too.
    plain.or_else(|| inits().find(|export| export.is_users()))
}

/// Returns the function that runs a command: `_start` of preview 1, or the newest version of `wasi:cli/run`.
///
/// # Errors
///
/// [`ExportError::NoCommand`] says what the task is instead.
pub fn command(exports: &[TaskExport]) -> Result<&TaskExport, ExportError> {
    let start = exports.iter().find(|export| export.is_core && export.name == "_start" && export.params.is_empty());
    let newest = || exports.iter().filter(|export| export.is_run()).max_by_key(|export| export.version());
    start.or_else(newest).ok_or_else(|| {
        let users = exports.iter().filter(|export| export.is_users()).collect::<Vec<_>>();
        ExportError::NoCommand { others: list(&users) }
    })
}

fn list(exports: &[&TaskExport]) -> String {
    let (shown, more) = few(exports, LISTED);
    let mut lines: Vec<String> = shown.iter().map(|e| format!("  {}", e.signature())).collect();
    if more > 0 {
        lines.push(format!("  and {more} more; wasmpool inspect lists them"));
    }
    lines.join("\n")
}
