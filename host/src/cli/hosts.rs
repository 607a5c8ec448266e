//! `wasmpool serve` and `wasmpool hosts`.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::args::{BrokerArgs, HostsArgs, ServeArgs};
use super::exit::{Exit, Stop};
use super::manifest::{FileLimits, Policy};
use super::permissions::ServerPermissions;
use super::print;
use super::signals::watch_signals_of_service;
use super::spec::GrantSpec;
use wasmpool_core::text::{ForeignText, MessageLines};
use wasmpool_hosts::names::HostName;
use wasmpool_hosts::notes::HostBeat;
use wasmpool_nats::access::{BrokerAccess, IdentityFile};
use wasmpool_nats::serve::{self, Host, HostPolicy, HostSettings, LimitBounds};
use wasmpool_nats::url::BrokerUrl;
use wasmpool_run::error::Error;
use wasmpool_run::grants::Grants;
use wasmpool_run::spawn::ChildProgram;
use wasmpool_run::tell;
use wasmpool_sandbox::surroundings;

/// Time in which each host has told of itself.
const LISTEN: Duration = Duration::from_millis(2500);

/// What is missing where an empty variable of the environment takes the place of the option.
const WITHOUT_URL: &str = "the message system is not named: --via URL";

/// Returns the way to the message system that the options describe.
pub fn access(url: BrokerUrl, files: &BrokerArgs) -> Result<BrokerAccess, Error> {
    Ok(BrokerAccess::new(url, files.tls_ca.as_deref(), identity(files))?)
}

fn identity(files: &BrokerArgs) -> Option<IdentityFile> {
    let credentials = files.creds.clone().map(IdentityFile::Credentials);
    credentials.or_else(|| files.nkey.clone().map(IdentityFile::Seed))
}

/// Prints what a message system has to permit.
fn print_permissions(args: &ServeArgs, host: Option<&HostName>) -> Result<Exit, Stop> {
    let Some(host) = host.cloned() else {
        return Err(Stop::from(
            "permissions are those of a host: --print-permissions HOST, or with --name HOST".to_owned(),
        ));
    };
    let identity = identity(&args.broker).map(|file| file.read()).transpose().map_err(Error::from)?;
    let key = identity.map(|identity| identity.public_key());
    Ok(print(&ServerPermissions { host, key }.to_string()).map_err(Error::output)?)
}

/// Serves until the user or the system asks to stop.
pub fn serve(args: &ServeArgs) -> Result<Exit, Stop> {
    if let (Some(Some(host)), Some(name)) = (&args.print_permissions, &args.name)
        && host != name
    {
        let message = "--print-permissions HOST and --name NAME say for which host: leave one out";
        return Err(Stop::from(message.to_owned()));
    }
    if let Some(host) = &args.print_permissions {
        return print_permissions(args, host.as_ref().or(args.name.as_ref()));
    }
    let Some(url) = args.via.clone() else {
        return Err(Stop::from(WITHOUT_URL.to_owned()));
    };
    let workers = args.workers.map_or_else(surroundings::processors, |workers| workers as usize);
    let settings = HostSettings {
        access: access(url, &args.broker)?,
        name: args.name.clone().map_or_else(some_name, Ok)?,
        workers,
        sandbox: args.sandbox.mode,
        policy: args.policy.as_deref().map_or_else(|| Ok(HostPolicy::default()), policy)?,
        buffer: args.buffer,
        program: ChildProgram::Own,
    };
    let quiet = args.verbosity.quiet;
    if !quiet {
        for (path, why) in settings.policy.missing_directories() {
            let path = ForeignText::of(path);
            tell!("wasmpool: the policy gives {path}, and runs that ask for it are refused until it is there: {why}");
        }
    }
    let host = Host::new(settings);
    let end = host.end();
    let _signals = watch_signals_of_service(move |is_first| {
        if is_first && !quiet {
            tell!("wasmpool: finishing what it holds, and taking no more; a second signal ends it at once");
        }
        end.leave();
    })?;
    host.serve(&mut |news| {
        if !quiet {
            tell!("wasmpool: {}", MessageLines(news));
        }
    })?;
    Ok(Exit::Success)
}

/// Reads what a host allows runs, in the words of any other policy.
fn policy(path: &Path) -> Result<HostPolicy, Stop> {
    let policy = Policy::of_file(path)?;
    let grants = policy.grants(GrantSpec::default());
    let said = |key: &str, why: &str| {
        Err(Stop::from(format!("{}: `{key}` of [grants] says nothing to a host: {why}", ForeignText::of(path))))
    };
    if !grants.env.is_empty() {
        return said("env", "each run brings its own variables");
    }
    if grants.scratch.is_some() {
        return said("scratch", "a run that asks for such a directory gets one, in the memory of its workers");
    }
    if !grants.shares.is_empty() {
        return said("share", "shared objects are the run's");
    }
    let FileLimits { timeout, memory, fuel, max_output } = policy.limits;
    let Grants { mut directories, peers, .. } = grants.grants();
    for directory in &mut directories {
        directory.host = std::path::absolute(&directory.host).map_err(Error::from)?;
        if directory.host.to_str().is_none() {
            let shown = ForeignText::of(&directory.host).to_string();
            return Err(Stop::from(format!("{}: no run can name {shown}, which is no UTF-8", ForeignText::of(path))));
        }
    }
    Ok(HostPolicy { limits: LimitBounds { timeout, memory, fuel, max_output }, directories, peers })
}

/// Returns the machine's name with random digits, so that several hosts on a machine have names of their own.
fn some_name() -> Result<HostName, Stop> {
    let machine: String = wasmpool_nats::machine_name().chars().take(40).collect();
    let digits = wasmpool_nats::random_number().map_err(Error::from)?;
    Ok(HostName::of_text(&format!("{machine}-{:08x}", digits as u32)))
}

/// A host, as it is printed with `--json`.
#[derive(Serialize)]
struct ListedHost<'a> {
    name: &'a str,
    version: &'a str,
    target: &'a str,
    workers: u32,
    runs: u32,
    chunks: u32,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    leaves_alone: &'a [String],
}

/// Returns the line of a host.
fn line(name: &HostName, host: &HostBeat, json: bool) -> Result<String, serde_json::Error> {
    let HostBeat { version, target, workers, runs, chunks, leaves_alone, .. } = host;
    if json {
        let (workers, runs, chunks) = (*workers, *runs, *chunks);
        return serde_json::to_string(&ListedHost {
            name: name.as_str(),
            version,
            target,
            workers,
            runs,
            chunks,
            leaves_alone,
        });
    }
    let [version, target] = [version, target].map(ForeignText::of);
    let mut line = format!("{name}\t{version}\t{target}\tworkers {workers}\truns {runs}\tchunks {chunks}");
    for reason in leaves_alone {
        line += &format!("\tleaves a run alone: {}", ForeignText::of(reason));
    }
    Ok(line)
}

/// Prints the hosts that serve, one on each line.
pub fn hosts(args: &HostsArgs) -> Result<Exit, Stop> {
    let found = serve::hosts(&access(args.via.clone(), &args.broker)?, LISTEN, &mut |news| {
        tell!("wasmpool: {}", MessageLines(news));
    })?;
    let mut text = String::new();
    for (name, host) in &found {
        text += &line(name, host, args.json).map_err(|e| Error::output(e.into()))?;
        text.push('\n');
    }
    if found.is_empty() {
        tell!("wasmpool: no host serves at {}", args.via);
    }
    Ok(print(&text).map_err(Error::output)?)
}
