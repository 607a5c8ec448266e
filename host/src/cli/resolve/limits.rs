//! Limits of one item: the command line takes precedence over the policy, and of that and the plugin's request the
//! smaller counts.

use std::path::Path;
use std::time::Duration;

use super::UsageError;
use super::conflicts::undetermined;
use crate::cli::args::LimitArgs;
use crate::cli::manifest::{self, Manifest, Policy};
use crate::cli::source::{ArgOrigins, SettingSource, Sourced};
use crate::cli::spec::LimitSpec;
use wasmpool_core::policy::ItemLimits;
use wasmpool_core::setting::Setting;
use wasmpool_core::text::bytes_said;

/// Largest memory limit, in bytes.
pub const MOST_MEMORY: u64 = 1 << 40;
/// Largest limit of one result, in bytes: a frame in the shared memory has room for a few of them.
pub const MOST_OUTPUT: u64 = (u32::MAX / 4) as u64;

/// Returns the limits, and what the plugin asks for beyond them.
pub fn limits(
    args: &LimitArgs,
    from: ArgOrigins<'_>,
    deterministic: &Sourced<bool>,
    policy: Option<&Policy>,
    manifest: Option<&Manifest>,
) -> Result<(LimitSpec, Vec<String>), UsageError> {
    let LimitArgs { timeout, memory, fuel, max_output } = args;
    let timeout = or_policy(from.of("timeout", *timeout), policy, |limits| limits.timeout);
    if timeout.is_some() && **deterministic {
        let why = "one machine takes longer than another: limit an item with --fuel";
        return Err(undetermined(timeout.option_name("--timeout"), deterministic, why));
    }
    let memory = or_policy(from.of("memory", *memory), policy, |limits| limits.memory);
    let fuel = or_policy(from.of("fuel", *fuel), policy, |limits| limits.fuel);
    let max_output = or_policy(from.of("max_output", *max_output), policy, |limits| limits.max_output);
    let ItemLimits { timeout: usual_timeout, memory: usual_memory, max_output: usual_output, .. } =
        ItemLimits::default();
    let mut held = LimitSpec {
        timeout: timeout.map(|timeout| timeout.unwrap_or(usual_timeout)),
        memory: memory.map(|memory| memory.unwrap_or(usual_memory).min(MOST_MEMORY)),
        fuel: fuel.map(|fuel| fuel.or(deterministic.then_some(ItemLimits::DETERMINISTIC_FUEL))),
        max_output: max_output.map(|bytes| bytes.unwrap_or(usual_output).min(MOST_OUTPUT)),
    };
    let short = manifest.map_or_else(Vec::new, |manifest| lower(&mut held, manifest, **deterministic));
    if let Some(fuel) = held.fuel.filter(|_| **deterministic) {
        // The fuel limit takes the place of the time limit.
        held.timeout = held.fuel.clone().map(|_| ItemLimits::distant_timeout(fuel));
    }
    Ok((held, short))
}

/// Returns the value of the command line, or else that of the policy.
fn or_policy<T>(
    said: Sourced<Option<T>>,
    policy: Option<&Policy>,
    limit: impl FnOnce(&manifest::FileLimits) -> Option<T>,
) -> Sourced<Option<T>> {
    match policy.filter(|_| said.is_none()).and_then(|policy| Some((limit(&policy.limits)?, policy))) {
        Some((value, policy)) => Sourced::new(Some(value), SettingSource::Policy(policy.path.as_path().into())),
        None => said,
    }
}

/// Lowers each limit to the plugin's request, and returns which limits the plugin wants larger.
pub fn lower(held: &mut LimitSpec, manifest: &Manifest, deterministic: bool) -> Vec<String> {
    let LimitSpec { timeout, memory, fuel, max_output } = held;
    let (asked, path) = (&manifest.limits, manifest.path.as_path());
    let mut short = Vec::new();
    let mut more = |what: String, had: String, option: Setting| {
        short.push(format!("{what}, and has {had}; {option} gives it more"));
    };
    if let Some(asked) = asked.timeout.filter(|_| !deterministic) {
        if asked > **timeout {
            let said = |time: Duration| humantime::format_duration(time).to_string();
            more(format!("{} for each item", said(asked)), said(**timeout), Setting::Timeout);
        }
        smaller(timeout, asked, path);
    }
    if let Some(asked) = asked.memory {
        if asked > **memory {
            more(format!("{} of memory", bytes_said(asked)), bytes_said(**memory), Setting::Memory);
        }
        smaller(memory, asked, path);
    }
    if let Some(asked) = asked.fuel {
        match **fuel {
            Some(had) if asked >= had => {
                if asked > had {
                    more(format!("{asked} instructions for each item"), had.to_string(), Setting::Fuel);
                }
            }
            _ => *fuel = Sourced::new(Some(asked), SettingSource::Manifest(path.into())),
        }
    }
    if let Some(asked) = asked.max_output {
        if asked > **max_output {
            more(format!("results of {}", bytes_said(asked)), bytes_said(**max_output), Setting::MaxOutput);
        }
        smaller(max_output, asked, path);
    }
    short
}

fn smaller<T: Ord>(held: &mut Sourced<T>, asked: T, manifest: &Path) {
    if asked < **held {
        *held = Sourced::new(asked, SettingSource::Manifest(manifest.into()));
    }
}
