//! A component of a script's modules, and of one that makes the script's calls.

use std::fmt::Write;

use wasm_encoder::{ComponentBuilder, ComponentExportKind, ComponentValType, ExportKind, ModuleArg, PrimitiveValType};
use wasmparser::{AbstractHeapType, ExternalKind, FuncType, HeapType, Parser, Payload, TypeRef, ValType};
use wast::core::{NanPattern, V128Const, V128Pattern, WastArgCore, WastRetCore};

/// What the specification's scripts may import.
pub const SPECTEST: &str = r#"
(module
  (func (export "print")) (func (export "print_i32") (param i32)) (func (export "print_i64") (param i64))
  (func (export "print_f32") (param f32)) (func (export "print_f64") (param f64))
  (func (export "print_i32_f32") (param i32 f32)) (func (export "print_f64_f64") (param f64 f64))
  (global (export "global_i32") i32 (i32.const 666)) (global (export "global_i64") i64 (i64.const 666))
  (global (export "global_f32") f32 (f32.const 666.6)) (global (export "global_f64") f64 (f64.const 666.6))
  (table (export "table") 10 20 funcref) (table (export "table64") i64 10 20 funcref)
  (memory (export "memory") 1 2))"#;

/// A module of a script, and what is known of it.
#[derive(Clone, Debug)]
pub struct Module {
    pub binary: Vec<u8>,
    /// The modules that it imports from, by the names it has for them.
    pub imports: Vec<String>,
    /// Functions that are exported, with their types; `None` where that refers to types of the module.
    functions: Vec<(String, Option<FuncType>)>,
    globals: Vec<(String, ValType, bool)>,
    /// What a call does may be seen by another.
    pub has_state: bool,
}

impl Module {
    /// Reads a module. `None` where it is none that could be read.
    pub fn read(binary: Vec<u8>) -> Option<Module> {
        let mut types = Vec::new();
        let (mut functions, mut globals) = (Vec::new(), Vec::new());
        let mut module = Module {
            binary: Vec::new(),
            imports: Vec::new(),
            functions: Vec::new(),
            globals: Vec::new(),
            has_state: false,
        };
        for payload in Parser::new(0).parse_all(&binary) {
            match payload.ok()? {
                Payload::TypeSection(section) => {
                    for group in section {
                        for ty in group.ok()?.into_types() {
                            let inner = ty.composite_type.inner;
                            types.push(match inner {
                                wasmparser::CompositeInnerType::Func(ty) => Some(ty),
                                _ => None,
                            });
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.ok()?;
                        module.imports.push(import.module.to_owned());
                        match import.ty {
                            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => functions.push(ty),
                            TypeRef::Global(ty) => globals.push(ty),
                            _ => {}
                        }
                        module.has_state = true;
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        functions.push(ty.ok()?);
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        let ty = global.ok()?.ty;
                        module.has_state |= ty.mutable;
                        globals.push(ty);
                    }
                }
                Payload::MemorySection(_) | Payload::TableSection(_) | Payload::ElementSection(_) => {
                    module.has_state = true;
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.ok()?;
                        let at = export.index as usize;
                        let name = export.name.to_owned();
                        match export.kind {
                            ExternalKind::Func | ExternalKind::FuncExact => {
                                let ty = types.get(*functions.get(at)? as usize)?.clone();
                                module.functions.push((name, ty.filter(|ty: &FuncType| is_plain(ty))));
                            }
                            ExternalKind::Global => {
                                let ty = globals.get(at)?;
                                module.globals.push((name, ty.content_type, ty.mutable));
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        module.imports.sort();
        module.imports.dedup();
        Some(Module { binary, ..module })
    }
}

/// Whether a type can be told without the module's own.
fn is_plain(ty: &FuncType) -> bool {
    ty.params().iter().chain(ty.results()).all(|ty| text(*ty).is_some())
}

/// The text of a type, where it refers to none of a module.
fn text(ty: ValType) -> Option<String> {
    Some(match ty {
        ValType::I32 => "i32".to_owned(),
        ValType::I64 => "i64".to_owned(),
        ValType::F32 => "f32".to_owned(),
        ValType::F64 => "f64".to_owned(),
        ValType::V128 => "v128".to_owned(),
        ValType::Ref(ty) => {
            let null = if ty.is_nullable() { "null " } else { "" };
            format!("(ref {null}{})", heap(ty.heap_type())?)
        }
    })
}

fn heap(ty: HeapType) -> Option<&'static str> {
    let HeapType::Abstract { shared: false, ty } = ty else {
        return None;
    };
    Some(match ty {
        AbstractHeapType::Func => "func",
        AbstractHeapType::Extern => "extern",
        AbstractHeapType::Any => "any",
        AbstractHeapType::None => "none",
        AbstractHeapType::NoExtern => "noextern",
        AbstractHeapType::NoFunc => "nofunc",
        AbstractHeapType::Eq => "eq",
        AbstractHeapType::Struct => "struct",
        AbstractHeapType::Array => "array",
        AbstractHeapType::I31 => "i31",
        AbstractHeapType::Exn => "exn",
        AbstractHeapType::NoExn => "noexn",
        _ => return None,
    })
}

/// What is called or looked at.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    Call { name: &'a str, arguments: &'a [&'a WastArgCore<'a>] },
    Global(&'a str),
}

/// What should come of it.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Anything but a trap.
    Anything,
    Results(&'a [WastRetCore<'a>]),
    Trap,
}

/// Instances, and the steps that are made with them.
#[derive(Debug, Default)]
pub struct Unit {
    /// Each with the instances that it imports from: by name, and number.
    instances: Vec<(Module, Vec<(String, u32)>)>,
    /// What the driver imports: each is called by its number.
    imports: Vec<Import>,
    functions: String,
    cases: String,
    steps: u32,
}

/// Something that an instance exports.
#[derive(Debug, PartialEq)]
struct Import {
    instance: u32,
    name: String,
    /// What it is, as text before its number and behind it.
    ty: (&'static str, String),
}

impl Unit {
    /// The number of an import, which is added if it is not there.
    fn import(&mut self, import: Import) -> usize {
        self.imports.iter().position(|there| *there == import).unwrap_or_else(|| {
            self.imports.push(import);
            self.imports.len() - 1
        })
    }

    /// Adds an instance, and says its number.
    pub fn instantiate(&mut self, module: Module, from: Vec<(String, u32)>) -> u32 {
        self.instances.push((module, from));
        self.instances.len() as u32 - 1
    }

    /// Adds a step, and says its number.
    ///
    /// # Errors
    ///
    /// Why there is no way to make it.
    pub fn step(&mut self, instance: u32, what: What<'_>, wanted: Wanted<'_>) -> Result<u32, &'static str> {
        let (module, _) = self.instances.get(instance as usize).ok_or("it names an instance that is not there")?;
        let (call, results) = match what {
            What::Call { name, arguments } => {
                let (_, ty) =
                    module.functions.iter().find(|(n, _)| n == name).ok_or("it calls what is not exported")?;
                let ty = ty.as_ref().ok_or("the function's type is one of its module")?;
                let mut call = String::new();
                for argument in arguments {
                    call += &push(argument).ok_or("an argument has no text")?;
                }
                let (params, results) = (texts(ty.params()), texts(ty.results()));
                let results_of = ty.results().to_vec();
                let ty = ("func", format!("(param {params}) (result {results})"));
                let number = self.import(Import { instance, name: escaped(name), ty });
                (format!("{call} (call $f{number})"), results_of)
            }
            What::Global(name) => {
                let (_, ty, mutable) =
                    module.globals.iter().find(|(n, ..)| n == name).ok_or("it looks at what is not exported")?;
                let text = text(*ty).ok_or("the global's type is one of its module")?;
                let (result, text) = (*ty, if *mutable { format!("(mut {text})") } else { text });
                let number = self.import(Import { instance, name: escaped(name), ty: ("global", text) });
                (format!("(global.get $f{number})"), vec![result])
            }
        };
        let number = self.steps;
        let locals: String = results.iter().map(|ty| format!("(local {})", nullable(*ty))).collect();
        let take: String = (0..results.len()).rev().map(|at| format!("(local.set {at})")).collect();
        let check = match wanted {
            Wanted::Anything => "(i32.const 1)".to_owned(),
            Wanted::Trap => "(i32.const 0)".to_owned(),
            Wanted::Results(wanted) if wanted.len() != results.len() => return Err("it has another number of results"),
            Wanted::Results(wanted) => {
                let mut all = "(i32.const 1)".to_owned();
                for (at, wanted) in wanted.iter().enumerate() {
                    let same = same(wanted, &format!("(local.get {at})")).ok_or("a result has no text")?;
                    all = format!("(i32.and {all} {same})");
                }
                all
            }
        };
        // Writing to memory does not fail.
        let _ = writeln!(self.functions, "(func $s{number} (result i32) {locals} {call} {take} {check})");
        let has_state = self.instances.iter().any(|(module, _)| module.has_state);
        let replays = has_state && !matches!(wanted, Wanted::Trap);
        if replays {
            let _ = writeln!(self.functions, "(func $r{number} (drop (call $s{number})))");
        }
        self.cases += &format!(
            "(if (i32.eq (local.get 0) (i32.const {number})) (then (return (call $s{number}))))\n{}",
            if replays { format!("(call $r{number})\n") } else { String::new() }
        );
        self.steps += 1;
        Ok(number)
    }

    /// The instances there are, each with those that it imports from.
    pub fn instances(&self) -> &[(Module, Vec<(String, u32)>)] {
        &self.instances
    }

    /// The component. Its `step` makes those steps before it that change something, and then the one it is given: 1 where
    /// what came is what should.
    pub fn component(&self) -> Result<Vec<u8>, String> {
        let mut imports = String::new();
        for (number, Import { instance, name, ty: (kind, ty) }) in self.imports.iter().enumerate() {
            let _ = writeln!(imports, "(import \"i{instance}\" \"{name}\" ({kind} $f{number} {ty}))");
        }
        let driver = format!(
            "(module {} {} (func (export \"step\") (param i32) (result i32) {} (i32.const 2)))",
            imports, self.functions, self.cases
        );
        let driver = wat::parse_str(&driver).map_err(|e| format!("the driver is wrong: {e}"))?;
        let spectest = wat::parse_str(SPECTEST).map_err(|e| e.to_string())?;
        let mut builder = ComponentBuilder::default();
        let spectest = builder.core_module_raw(None, &spectest);
        let spectest = builder.core_instantiate(None, spectest, Vec::<(&str, ModuleArg)>::new());
        let mut made = Vec::new();
        for (module, from) in &self.instances {
            let number = builder.core_module_raw(None, &module.binary);
            let mut arguments: Vec<(&str, ModuleArg)> = Vec::new();
            for import in &module.imports {
                let instance = match from.iter().rev().find(|(name, _)| name == import) {
                    Some((_, instance)) => made.get(*instance as usize).copied(),
                    None if import == "spectest" => Some(spectest),
                    None => None,
                };
                let instance = instance.ok_or_else(|| format!("it imports from `{import}`, which is not there"))?;
                arguments.push((import, ModuleArg::Instance(instance)));
            }
            made.push(builder.core_instantiate(None, number, arguments));
        }
        let driver = builder.core_module_raw(None, &driver);
        let names: Vec<String> = (0..made.len()).map(|at| format!("i{at}")).collect();
        let used = names.iter().zip(&made).filter(|(name, _)| imports.contains(&format!("\"{name}\"")));
        let arguments: Vec<(&str, ModuleArg)> = used.map(|(name, at)| (&**name, ModuleArg::Instance(*at))).collect();
        let driver = builder.core_instantiate(None, driver, arguments);
        let step = builder.core_alias_export(None, driver, "step", ExportKind::Func);
        let (ty, mut function) = builder.type_function(None);
        let u32 = ComponentValType::Primitive(PrimitiveValType::U32);
        function.params([("number", u32)]).result(Some(u32));
        let step = builder.lift_func(None, step, ty, []);
        builder.export("step", ComponentExportKind::Func, step, None);
        Ok(builder.finish())
    }
}

fn texts(types: &[ValType]) -> String {
    types.iter().filter_map(|ty| text(*ty)).collect::<Vec<_>>().join(" ")
}

/// The type as one that a variable can have before it is set.
fn nullable(ty: ValType) -> String {
    match ty {
        ValType::Ref(ty) => format!("(ref null {})", heap(ty.heap_type()).unwrap_or("any")),
        other => text(other).unwrap_or_default(),
    }
}

fn escaped(name: &str) -> String {
    name.bytes().map(|byte| format!("\\{byte:02x}")).collect()
}

/// What pushes an argument.
fn push(argument: &WastArgCore<'_>) -> Option<String> {
    Some(match argument {
        WastArgCore::I32(n) => format!("(i32.const {n})"),
        WastArgCore::I64(n) => format!("(i64.const {n})"),
        WastArgCore::F32(n) => format!("(f32.reinterpret_i32 (i32.const {}))", n.bits as i32),
        WastArgCore::F64(n) => format!("(f64.reinterpret_i64 (i64.const {}))", n.bits as i64),
        WastArgCore::V128(n) => vector(n),
        WastArgCore::RefNull(wast::core::HeapType::Abstract { shared: false, ty }) => {
            format!("(ref.null {})", abstract_text(*ty)?)
        }
        WastArgCore::RefExtern(n) => format!("(extern.convert_any (ref.i31 (i32.const {n})))"),
        WastArgCore::RefHost(n) => format!("(ref.i31 (i32.const {n}))"),
        _ => return None,
    })
}

fn abstract_text(ty: wast::core::AbstractHeapType) -> Option<&'static str> {
    use wast::core::AbstractHeapType as Abstract;
    Some(match ty {
        Abstract::Func => "func",
        Abstract::Extern => "extern",
        Abstract::Any => "any",
        Abstract::None => "none",
        Abstract::NoExtern => "noextern",
        Abstract::NoFunc => "nofunc",
        Abstract::Eq => "eq",
        Abstract::Struct => "struct",
        Abstract::Array => "array",
        Abstract::I31 => "i31",
        Abstract::Exn => "exn",
        Abstract::NoExn => "noexn",
        _ => return None,
    })
}

fn vector(of: &V128Const) -> String {
    let bytes = of.to_le_bytes().map(|byte| byte.to_string());
    format!("(v128.const i8x16 {})", bytes.join(" "))
}

/// Whether a value is what it should be: 1 or 0.
fn same(wanted: &WastRetCore<'_>, got: &str) -> Option<String> {
    Some(match wanted {
        WastRetCore::I32(n) => format!("(i32.eq {got} (i32.const {n}))"),
        WastRetCore::I64(n) => format!("(i64.eq {got} (i64.const {n}))"),
        WastRetCore::F32(pattern) => same_f32(pattern, &format!("(i32.reinterpret_f32 {got})")),
        WastRetCore::F64(pattern) => same_f64(pattern, &format!("(i64.reinterpret_f64 {got})")),
        WastRetCore::V128(pattern) => same_vector(pattern, got),
        WastRetCore::RefNull(_) => format!("(ref.is_null {got})"),
        WastRetCore::RefExtern(Some(n)) => {
            format!("(i32.eq (i31.get_u (ref.cast (ref i31) (any.convert_extern {got}))) (i32.const {n}))")
        }
        WastRetCore::RefHost(n) => format!("(i32.eq (i31.get_u (ref.cast (ref i31) {got})) (i32.const {n}))"),
        WastRetCore::RefExtern(None) | WastRetCore::RefFunc(None) | WastRetCore::RefAny => {
            format!("(i32.eqz (ref.is_null {got}))")
        }
        WastRetCore::RefEq => format!("(ref.test (ref eq) {got})"),
        WastRetCore::RefArray => format!("(ref.test (ref array) {got})"),
        WastRetCore::RefStruct => format!("(ref.test (ref struct) {got})"),
        WastRetCore::RefI31 => format!("(ref.test (ref i31) {got})"),
        WastRetCore::Either(cases) => {
            let mut any = "(i32.const 0)".to_owned();
            for case in cases {
                any = format!("(i32.or {any} {})", same(case, got)?);
            }
            any
        }
        _ => return None,
    })
}

fn same_f32(pattern: &NanPattern<wast::token::F32>, bits: &str) -> String {
    match pattern {
        NanPattern::Value(n) => format!("(i32.eq {bits} (i32.const {}))", n.bits as i32),
        NanPattern::CanonicalNan => {
            format!("(i32.eq (i32.and {bits} (i32.const 0x7fffffff)) (i32.const 0x7fc00000))")
        }
        NanPattern::ArithmeticNan => {
            format!("(i32.eq (i32.and {bits} (i32.const 0x7fc00000)) (i32.const 0x7fc00000))")
        }
    }
}

fn same_f64(pattern: &NanPattern<wast::token::F64>, bits: &str) -> String {
    match pattern {
        NanPattern::Value(n) => format!("(i64.eq {bits} (i64.const {}))", n.bits as i64),
        NanPattern::CanonicalNan => {
            format!("(i64.eq (i64.and {bits} (i64.const 0x7fffffffffffffff)) (i64.const 0x7ff8000000000000))")
        }
        NanPattern::ArithmeticNan => {
            format!("(i64.eq (i64.and {bits} (i64.const 0x7ff8000000000000)) (i64.const 0x7ff8000000000000))")
        }
    }
}

fn same_vector(pattern: &V128Pattern, got: &str) -> String {
    let lanes = |lanes: Vec<String>| lanes.into_iter().reduce(|all, lane| format!("(i32.and {all} {lane})"));
    let text = |kind: &str, numbers: Vec<String>| {
        format!("(i32.eqz (v128.any_true (v128.xor {got} (v128.const {kind} {}))))", numbers.join(" "))
    };
    match pattern {
        V128Pattern::I8x16(n) => text("i8x16", n.map(|n| n.to_string()).to_vec()),
        V128Pattern::I16x8(n) => text("i16x8", n.map(|n| n.to_string()).to_vec()),
        V128Pattern::I32x4(n) => text("i32x4", n.map(|n| n.to_string()).to_vec()),
        V128Pattern::I64x2(n) => text("i64x2", n.map(|n| n.to_string()).to_vec()),
        V128Pattern::F32x4(n) => {
            let lane = |(at, pattern)| same_f32(pattern, &format!("(i32x4.extract_lane {at} {got})"));
            lanes(n.iter().enumerate().map(lane).collect()).unwrap_or_default()
        }
        V128Pattern::F64x2(n) => {
            let lane = |(at, pattern)| same_f64(pattern, &format!("(i64x2.extract_lane {at} {got})"));
            lanes(n.iter().enumerate().map(lane).collect()).unwrap_or_default()
        }
    }
}
