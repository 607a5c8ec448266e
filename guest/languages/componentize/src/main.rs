//! Makes bindings for C and Go, and components of what their compilers make of them: what `wit-bindgen` and `wasm-tools` do, at
//! the versions that `Cargo.lock` names.
//!
//!     componentize bindings c|go WIT FOLDER
//!     componentize component WIT CORE COMPONENT

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["bindings", language, wit, folder] => bindings(language, wit, Path::new(folder)),
        ["component", wit, core, component] => make_component(wit, core, component),
        _ => bail!("usage: componentize bindings c|go WIT FOLDER | component WIT CORE COMPONENT"),
    }
}

/// Reads a folder of WIT, which has one world in its main package.
fn world(wit: &str) -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], None)?;
    Ok((resolve, world))
}

fn bindings(language: &str, wit: &str, folder: &Path) -> Result<()> {
    let (mut resolve, world) = world(wit)?;
    let mut generator: Box<dyn WorldGenerator> = match language {
        "c" => wit_bindgen_c::Opts::default().build(),
        "go" => wit_bindgen_go::Opts::default().build(),
        _ => bail!("there are bindings for c and go"),
    };
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files)?;
    for (name, content) in files.iter() {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Makes a component of a core module that was compiled for preview 1 of WASI.
fn make_component(wit: &str, core: &str, component: &str) -> Result<()> {
    let (resolve, world) = world(wit)?;
    let mut module = fs::read(core).with_context(|| core.to_owned())?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let bytes = ComponentEncoder::default()
        .validate(true)
        .module(&module)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
        .encode()?;
    fs::write(component, bytes).with_context(|| component.to_owned())
}
