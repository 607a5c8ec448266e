//! Variables of the environment that look like this program's and are not: a misspelt one would change nothing, and nobody
//! would know.

use std::env;

use wasmpool_core::text::{ForeignText, MessageLines};
use wasmpool_run::tell;

use super::meant::{self, nearest};

/// Beginning of the names of all variables of this program.
const OURS: &str = "WASMPOOL_";
/// Variables that are no options.
const OTHERS: [&str; 5] = [
    "WASMPOOL_BIN",
    "WASMPOOL_CACHE_DIR",
    "WASMPOOL_DEBUG_CHILDREN",
    "WASMPOOL_VERIFY_RESTORE",
    "WASMPOOL_WORKER_BINARY",
];
/// Beginnings of the names of others: of tests, and of what Kubernetes and Docker tell every container of a service that is
/// called wasmpool.
const FAMILIES: [&str; 7] = [
    "WASMPOOL_PORT_",
    "WASMPOOL_PROBES_",
    "WASMPOOL_RESTORE",
    "WASMPOOL_SERVICE_",
    "WASMPOOL_TEST_",
    "WASMPOOL_THIRD_PARTY",
    "WASMPOOL_ENV_",
];

/// Prints a warning for each variable that nothing reads, with the one that was probably meant.
pub fn tell_of_unknown() {
    let given: Vec<String> = env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with(OURS) && !is_of_others(name))
        .collect();
    // Nearly always, so that the names of all options need not be gathered.
    if given.is_empty() {
        return;
    }
    let known = known();
    for name in given.iter().filter(|name| !known.contains(name)) {
        tell!("wasmpool: {}", MessageLines(&unknown(name, &known)));
    }
}

fn is_of_others(name: &str) -> bool {
    OTHERS.contains(&name) || name == "WASMPOOL_PORT" || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Returns the variables of all options.
fn known() -> Vec<String> {
    let all = super::command();
    let commands = || all.get_subcommands().flat_map(|one| std::iter::once(one).chain(one.get_subcommands()));
    let args = commands().flat_map(clap::Command::get_arguments);
    let mut names: Vec<String> =
        args.filter_map(|arg| arg.get_env()).map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names.dedup();
    names
}

fn unknown(name: &str, known: &[String]) -> String {
    // Without the beginning that all have in common, which makes any two alike.
    let rest = |name: &'static str| name.strip_prefix(OURS).unwrap_or(name);
    let others = OTHERS.map(rest);
    let known = known.iter().filter_map(|name| name.strip_prefix(OURS)).chain(others);
    let given = name.strip_prefix(OURS).unwrap_or(name);
    let meant = otherwise(given);
    let meant = meant.as_deref().or_else(|| nearest(given, known));
    let meant = meant.map_or_else(String::new, |meant| format!("; is {OURS}{meant} meant?"));
    format!("{} is no variable of wasmpool{meant}", ForeignText::of(name))
}

/// Returns the rest of the name of a variable that is called by a letter of its option, or as other programs call it.
fn otherwise(given: &str) -> Option<String> {
    let name = given.to_lowercase().replace('_', "-");
    let all = super::command();
    let mut args = all.get_subcommands().flat_map(clap::Command::get_arguments);
    let letter = name.parse::<char>().ok();
    let long = meant::synonym(&name);
    let arg = args.find(|arg| match letter {
        Some(letter) => arg.get_short() == Some(letter) && arg.get_env().is_some(),
        None => long.is_some() && arg.get_long() == long,
    })?;
    Some(arg.get_env()?.to_string_lossy().strip_prefix(OURS)?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_named_with_the_one_that_is_meant() {
        let known = known();
        assert!(known.len() > 40, "{known:?}");
        for (name, meant) in [
            ("WASMPOOL_TIMOUT", Some("WASMPOOL_TIMEOUT")),
            ("WASMPOOL_WORKER", Some("WASMPOOL_WORKERS")),
            ("WASMPOOL_CACHEDIR", Some("WASMPOOL_CACHE_DIR")),
            ("WASMPOOL_J", Some("WASMPOOL_WORKERS")),
            ("WASMPOOL_JOBS", Some("WASMPOOL_WORKERS")),
            ("WASMPOOL_O", Some("WASMPOOL_OUTPUT")),
            ("WASMPOOL_COMPLETELY_ELSE", None),
        ] {
            let said = unknown(name, &known);
            let asked = meant.map_or_else(String::new, |meant| format!("; is {meant} meant?"));
            assert_eq!(said, format!("{name} is no variable of wasmpool{asked}"));
        }
    }

    #[test]
    fn no_option_has_the_name_of_something_else() {
        assert_eq!(known().iter().find(|name| is_of_others(name)), None);
    }
}
