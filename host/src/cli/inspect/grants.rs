//! Which grants a task can use, judged by what it imports. Most toolchains import more than a task needs, so this is no list
//! of what it will not run without.

/// A grant: the option that gives it, what it gives, and the beginnings of imports that it is for.
struct Grant {
    option: &'static str,
    gives: &'static str,
    imports: &'static [&'static str],
}

const GRANTS: [Grant; 5] = [
    Grant {
        option: "--dir HOST::GUEST[:ro|:rw]",
        gives: "a directory; --scratch GUEST an empty one",
        imports: &[
            "wasi:filesystem/",
            "wasi_snapshot_preview1/path_",
            "wasi_snapshot_preview1/fd_prestat",
            "wasi_snapshot_preview1/fd_readdir",
            "wasi_unstable/path_",
            "wasi_unstable/fd_prestat",
            "wasi_unstable/fd_readdir",
        ],
    },
    Grant {
        option: "--env NAME=VALUE",
        gives: "a variable",
        imports: &["wasi:cli/environment", "wasi:config/", "wasi_snapshot_preview1/environ_", "wasi_unstable/environ_"],
    },
    Grant { option: "--allow-net HOST:PORT", gives: "connections to a peer", imports: &["wasi:sockets/"] },
    Grant { option: "--share NAME=KIND", gives: "an object that tasks share", imports: &["wasmpool:shared/"] },
    Grant { option: "--share NAME=dict", gives: "a dict as a key-value store", imports: &["wasi:keyvalue/"] },
];

/// A grant that a task can use.
pub struct UsableGrant<'a> {
    pub option: &'static str,
    pub gives: &'static str,
    /// The imports that it is for.
    pub imports: Vec<&'a str>,
}

/// Returns the grants that a task with these imports can use.
pub fn usable(imports: &[String]) -> Vec<UsableGrant<'_>> {
    let of = |grant: &Grant| UsableGrant {
        option: grant.option,
        gives: grant.gives,
        imports: imports
            .iter()
            .map(String::as_str)
            .filter(|import| grant.imports.iter().any(|beginning| import.starts_with(beginning)))
            .collect(),
    };
    GRANTS.iter().map(of).filter(|grant| !grant.imports.is_empty()).collect()
}
