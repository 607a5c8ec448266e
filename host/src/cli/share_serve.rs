//! `wasmpool share serve`: shared objects of a file, which outlive the runs that name them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::args::ShareServeArgs;
use super::exit::{Exit, Stop};
use super::hosts::access;
use super::manifest::read;
use super::runfile;
use super::sharing::{RunObjects, Sharing};
use super::signals::watch_signals_of_service;
use super::state_guard::StateGuard;
use super::task_file::refuse_task;
use wasmpool_core::text::{ForeignText, MessageLines};
use wasmpool_hosts::names::HostName;
use wasmpool_nats::objects::server::{ObjectsServer, ServiceEnd};
use wasmpool_run::tell;

/// Number of tokens that a server may give. One that gives a thousand in a millisecond has given them after twelve days.
const TOKENS: u64 = 1 << 40;

/// The file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectsFile {
    /// Each as `--share` takes it, behind its name.
    #[serde(default)]
    share: BTreeMap<String, String>,
}

/// Serves the objects of a file until the user or the system asks to stop.
pub fn serve(args: &ShareServeArgs) -> Result<Exit, Stop> {
    let path = ForeignText::of(&read::shown(&args.file)).to_string();
    refuse_task(&args.file, "wasmpool share serve takes a file that names objects")?;
    let file: ObjectsFile = read::argument(&args.file)?;
    let objects = runfile::objects(&file.share).map_err(|why| Stop::from(format!("{path}: {why}")))?;
    if objects.is_empty() {
        return Err(Stop::from(format!(
            "{path}: there is no object to serve: name each in a table [share], such as jobs = \"queue:100\""
        )));
    }
    let name = args.name.clone().map_or_else(|| name_of(&args.file), Ok)?;
    let state = args.state.as_deref();
    check_state(&args.file, state)?;
    let guard = state.map(StateGuard::take).transpose()?.flatten();
    let begun = state.filter(|state| state.exists());
    let objects = objects.into_iter().map(|object| (object.spec, object.rights)).collect();
    let sharing = Sharing::of_objects(objects, begun, state, args.sandbox.mode)?.over_hosts();
    let sharing = sharing.going_on(guard.as_ref().map_or(0, StateGuard::tokens));
    let server = ObjectsServer::new(access(args.via.clone(), &args.broker)?, name);
    let (end, quiet) = (server.end(), args.verbosity.quiet);
    let signals = watch_signals_of_service(move |_| end.leave())?;
    let Some(shared) = signals.leaving_at_once(|| sharing.start(0))? else {
        return Ok(Exit::Success);
    };
    let RunObjects { objects, grants, .. } = &shared;
    // Whatever ends this process, no token is given again.
    if let Some(guard) = &guard {
        guard.keep(objects.last_token()?.map(|token| token.saturating_add(TOKENS)))?;
    }
    let ended = server.serve(objects, grants, &mut |news| {
        if !quiet {
            tell!("wasmpool: {}", MessageLines(news));
        }
    });
    let kept = match (&guard, objects.last_token()) {
        (Some(guard), Ok(token)) => guard.keep(token),
        _ => Ok(()),
    };
    let ended = ended?;
    shared.tell()?;
    kept?;
    if let (false, Some(state)) = (quiet, state) {
        tell!("wasmpool: what the objects hold is in {}", ForeignText::of(state));
    }
    match ended {
        ServiceEnd::Told => Ok(Exit::Success),
        ServiceEnd::Denied(why) => Err(why.into()),
    }
}

/// Returns the name of a server that serves this file, unless another is given.
fn name_of(file: &Path) -> Result<HostName, Stop> {
    if file == Path::new("-") {
        return Err("standard input has no name that the server could have: give it one with --name NAME"
            .to_owned()
            .into());
    }
    let stem = file.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    HostName::new(&stem).map_err(|_| {
        let stem = ForeignText::of(&*stem).to_string();
        Stop::from(format!(
            "{stem} cannot be the name of a server, which has 1 to 64 characters, of a-z, A-Z, 0-9, - and _: give it one with \
             --name NAME"
        ))
    })
}

/// Checks that the state is written to a file that is not the one with the objects.
fn check_state(file: &Path, state: Option<&Path>) -> Result<(), Stop> {
    let Some(state) = state else { return Ok(()) };
    if state == Path::new("-") {
        return Err(Stop::from("--state is a file, and `-` is none; a file whose name is - is ./-".to_owned()));
    }
    let same = matches!((file.canonicalize(), state.canonicalize()), (Ok(file), Ok(state)) if file == state);
    match same {
        true => {
            let file = ForeignText::of(file).to_string();
            Err(Stop::from(format!("--state would overwrite {file}, the file with the objects: name another file")))
        }
        false => Ok(()),
    }
}
