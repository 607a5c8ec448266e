//! What `serve` prints of permissions: as a part of a NATS server's configuration, and as commands of `nsc`.

use std::fmt;

use wasmpool_hosts::names::HostName;
use wasmpool_hosts::permissions::Permissions;

/// The account that is printed.
const ACCOUNT: &str = "WASMPOOL";

/// What a server has to permit so that this host serves, as a part of its configuration and as commands of `nsc`.
#[derive(Clone, Debug)]
pub struct ServerPermissions {
    pub host: HostName,
    /// The host's public key, if it is known.
    pub key: Option<String>,
}

impl fmt::Display for ServerPermissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServerPermissions { host, key } = self;
        let key = key.clone().unwrap_or_else(|| format!("PUBLIC-KEY-OF-{host}"));
        let (of_host, of_coordinator) = (Permissions::of_host(host), Permissions::of_coordinator());
        let of_objects = Permissions::of_objects_server();
        write!(
            f,
            "# For the configuration of the NATS server. Who is in the account can see all of its runs.\n\
             accounts {{\n\
             \x20 {ACCOUNT} {{\n\
             \x20   # Each run has a stream and a consumer: 20 MB, and a megabyte more for each chunk that hosts have beyond 16. They are in memory,\n\
             \x20   # and with --via-storage file in files: max_file then has to be as large.\n\
             \x20   jetstream {{ max_memory: 2G, max_file: 1M, max_streams: 32, max_consumers: 32 }}\n\
             \x20   users [\n\
             \x20     # The host {host}: wasmpool serve --name {host} --nkey FILE\n{}\
             \x20     # Whoever starts runs and lists hosts: wasmpool map --nkey FILE\n{}\
             \x20     # Whoever serves shared objects that outlive runs: wasmpool share serve --nkey FILE\n{}\
             \x20   ]\n\
             \x20 }}\n\
             }}\n\
             \n\
             # For an account whose users have JWTs, the same as commands:\n{}{}{}",
            user(&of_host, &key),
            user(&of_coordinator, "PUBLIC-KEY-OF-COORDINATOR"),
            user(&of_objects, "PUBLIC-KEY-OF-OBJECTS"),
            command(&of_host, host.as_str()),
            command(&of_coordinator, "coordinator"),
            command(&of_objects, "objects"),
        )
    }
}

/// Returns the user as a line of a server's configuration; `key` is the public key.
fn user(permissions: &Permissions, key: &str) -> String {
    let list =
        |subjects: &[String]| subjects.iter().map(|subject| format!("          \"{subject}\"\n")).collect::<String>();
    let (publish, subscribe) = (list(&permissions.publish), list(&permissions.subscribe));
    format!(
        "      {{ nkey: \"{key}\", permissions: {{\n        publish: [\n{publish}        ]\n        subscribe: [\n{subscribe}        ]\n      }} }}\n"
    )
}

/// Returns the command that makes such a user in an account whose users have JWTs.
fn command(permissions: &Permissions, user: &str) -> String {
    let (publish, subscribe) = (permissions.publish.join(","), permissions.subscribe.join(","));
    format!(
        "# nsc add user --account {ACCOUNT} --name {user} \\\n#   --allow-pub '{publish}' \\\n#   --allow-sub '{subscribe}'\n"
    )
}
