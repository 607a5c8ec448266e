//! What a task is granted, in words.

use super::share;
use super::spec::GrantSpec;
use wasmpool_core::text::ForeignText;
use wasmpool_run::grants::mode;

/// Returns what is granted, in the words of the options. The values of variables may be secret.
pub fn granted(grants: &GrantSpec) -> Vec<String> {
    let shares = grants.shares.iter().map(|share| {
        let word = share::word_of(&share.spec.form, share.rights);
        let right = if word.is_empty() { String::new() } else { format!(":{word}") };
        format!("share {}{right}", ForeignText::of(&share.spec.name))
    });
    let served = grants.served.iter().map(|share| format!("share {}", ForeignText::of(&share.to_string())));
    let directories = grants.directories.iter().map(|one| {
        let (host, guest) = (ForeignText::of(&one.host), ForeignText::of(&one.guest));
        format!("dir {host}::{guest}{}", mode(one.writable))
    });
    let scratch = grants.scratch.iter().map(|name| format!("scratch {}", ForeignText::of(name.as_str())));
    let peers = grants.peers.iter().map(|peer| format!("allow-net {}:{}", ForeignText::of(&peer.host), peer.port));
    let variables = grants.env.iter().map(|variable| format!("env {}", ForeignText::of(&variable.0)));
    shares.chain(served).chain(directories).chain(scratch).chain(peers).chain(variables).collect()
}
