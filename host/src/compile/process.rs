//! The compile process: one task in, its artifact out.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Engine, Module, ResourcesRequired};

use super::{Description, ExportLine, Format, Meta, Reply, Request};
use crate::engine::{Needs, Profile};
use crate::exports::{self, Export};
use crate::lane::control::Control;
use crate::sandbox::{self, Plan};

/// Runs the process on the socket it was given.
pub fn run(socket: OwnedFd) -> ExitCode {
    match serve(&Control::from_fd(socket)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(control: &Control) -> io::Result<()> {
    let Some((request, fds)) = control.receive_descriptors::<Request>()? else {
        return Ok(());
    };
    let Ok([wasm, artifact, reply]) = <[OwnedFd; 3]>::try_from(fds) else {
        return Err(io::Error::other("the host sent other descriptors than a compiler needs"));
    };
    let plan = Plan::new(
        request.sandbox,
        sandbox::Role::Compile,
        sandbox::Limits::of_compiler(),
        sandbox::Openings::default(),
    );
    #[cfg(feature = "probes")]
    let plan = Plan { without: request.probe.iter().flat_map(|p| p.without.clone()).collect(), ..plan };
    let answer = match sandbox::enter_loading(plan) {
        Err(e) => Reply::Unprotected(e.to_string()),
        #[cfg(feature = "probes")]
        Ok(_) if request.probe.is_some() => Reply::Probed(sandbox::probes::attempt(&request.probe.unwrap_or_default())),
        Ok(_) => {
            let mut bytes = Vec::new();
            let mut wasm = File::from(wasm);
            wasm.seek(SeekFrom::Start(0))?;
            wasm.read_to_end(&mut bytes)?;
            match compile(&bytes, request.fuel) {
                Ok((code, meta)) => {
                    File::from(artifact).write_all(&code)?;
                    Reply::Compiled(meta)
                }
                Err(message) => Reply::Refused(message),
            }
        }
    };
    serde_json::to_writer(File::from(reply), &answer)?;
    Ok(())
}

fn compile(bytes: &[u8], fuel: bool) -> Result<(Vec<u8>, Meta), String> {
    if bytes.is_empty() {
        return Err("it is empty, not WebAssembly".to_owned());
    }
    let wasm = wat::parse_bytes(bytes)
        .map_err(|e| format!("it is neither WebAssembly nor its text form: {}", e.to_string().trim_end()))?;
    let mut first = None;
    for profile in Profile::all(fuel) {
        match compile_as(&wasm, profile) {
            Ok(done) => return Ok(done),
            Err(e) => first = first.or(Some(format!("it is not valid WebAssembly: {e:#}"))),
        }
    }
    Err(first.unwrap_or_default())
}

fn compile_as(wasm: &[u8], profile: Profile) -> wasmtime::Result<(Vec<u8>, Meta)> {
    let engine = profile.engine()?;
    // The fifth to eighth byte tell a component from a core module.
    if wasm.get(6..8) == Some(&[1, 0]) {
        let component = Component::from_binary(&engine, wasm)?;
        let needs = component.resources_required().map(needs);
        let description = describe(&exports::of_component(&component, &engine), imports(&component, &engine));
        Ok((component.serialize()?, Meta { format: Format::Component, profile, needs, description }))
    } else {
        let module = Module::from_binary(&engine, wasm)?;
        let needs = Some(needs(module.resources_required()));
        let imports = module.imports().map(|i| format!("{}/{}", i.module(), i.name())).collect();
        let description = describe(&exports::of_module(&module), imports);
        Ok((module.serialize()?, Meta { format: Format::Core, profile, needs, description }))
    }
}

fn needs(required: ResourcesRequired) -> Needs {
    // Wasmtime counts memory in pages here.
    const PAGE: u64 = 64 << 10;
    Needs {
        memories: required.num_memories,
        initial_memory: required.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE),
        tables: required.num_tables,
        initial_table: required.max_initial_table_size.unwrap_or(0),
    }
}

fn describe(exports: &[Export], mut imports: Vec<String>) -> Description {
    imports.sort();
    imports.dedup();
    let exports = exports
        .iter()
        .map(|e| ExportLine {
            name: e.path(),
            signature: e.signature(),
            users: e.is_users(),
            unsupported: e.unsupported.clone(),
        })
        .collect();
    Description { exports, imports }
}

/// The interfaces and functions a component imports; types alone need nothing.
fn imports(component: &Component, engine: &Engine) -> Vec<String> {
    component
        .component_type()
        .imports(engine)
        .filter(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)))
        .map(|(name, _)| name.to_owned())
        .collect()
}
