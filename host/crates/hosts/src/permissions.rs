//! What a message system has to permit, and nothing beside: to a host, which speaks under its own name only, and to whoever
//! starts runs.
//!
//! A wildcard of NATS stands for whole tokens, so that the streams of runs cannot be named by how they begin. What keeps hosts
//! from other streams is the name of the consumer.

use crate::names::HostName;
use crate::subjects::{self, CONSUMER, FromHost};

/// What a user of a message system may publish, and subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
}

impl Permissions {
    /// Returns what a host of this name needs.
    pub fn of_host(host: &HostName) -> Permissions {
        let sends = FromHost::ALL.iter().map(|(_, token)| format!("wp.*.{token}.{host}"));
        Permissions {
            publish: sends.chain([subjects::host(host), format!("$JS.API.CONSUMER.MSG.NEXT.*.{CONSUMER}")]).collect(),
            subscribe: vec![format!("{}.>", subjects::inbox(host)), subjects::ALL_CONTROLS.to_owned()],
        }
    }

    /// Returns what whoever starts runs needs, and lists hosts.
    pub fn of_coordinator() -> Permissions {
        let receives = FromHost::ALL.iter().map(|(_, token)| format!("wp.*.{token}.*"));
        let publish = [
            "wp.*.c",
            "wp.*.k",
            "wp.*.w",
            // Answers to hosts. A coordinator's own inbox has one token less, so no coordinator reads what hosts are answered.
            "_INBOX.*.*.*.>",
            "$JS.API.STREAM.CREATE.*",
            "$JS.API.STREAM.UPDATE.*",
            "$JS.API.STREAM.LIST",
            "$JS.API.STREAM.DELETE.*",
            "$JS.API.STREAM.MSG.DELETE.*",
            "$JS.API.CONSUMER.CREATE.*.wp",
            "$JS.API.CONSUMER.INFO.*.wp",
            "$JS.ACK.*.wp.>",
        ];
        Permissions {
            publish: publish.map(str::to_owned).into(),
            subscribe: receives
                .chain(["wp.*.w", subjects::ALL_CONTROLS].map(str::to_owned))
                .chain([subjects::ALL_HOSTS.to_owned(), "_INBOX.*.*".to_owned()])
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::RunId;

    /// Returns true if a subject is one that a pattern is for.
    fn matches(pattern: &str, subject: &str) -> bool {
        let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
        loop {
            match (pattern.next(), subject.next()) {
                (None, None) => return true,
                (Some(">"), Some(_)) => return true,
                (Some(of), Some(token)) if of == token || of == "*" => {}
                _ => return false,
            }
        }
    }

    fn may(patterns: &[String], subject: &str) -> bool {
        patterns.iter().any(|pattern| matches(pattern, subject))
    }

    #[test]
    fn a_host_may_speak_under_its_own_name_only() {
        let (host, other, run) = (HostName::new("a").unwrap(), HostName::new("b").unwrap(), RunId([7; 16]));
        let Permissions { publish, subscribe } = Permissions::of_host(&host);
        for (kind, _) in FromHost::ALL {
            assert!(may(&publish, &kind.subject(run, &host)));
            assert!(!may(&publish, &kind.subject(run, &other)));
            assert!(!may(&subscribe, &kind.subject(run, &other)));
        }
        assert!(may(&publish, &subjects::host(&host)) && !may(&publish, &subjects::host(&other)));
        for not in [subjects::chunks(run), subjects::control(run), "$JS.ACK.WP-1.wp.1.2.3.4.5".to_owned()] {
            assert!(!may(&publish, &not), "{not}");
        }
        assert!(may(&subscribe, "_INBOX.a.1.2.3") && !may(&subscribe, "_INBOX.b.1.2.3"));
    }

    #[test]
    fn a_coordinator_answers_hosts_and_does_not_read_what_they_are_answered() {
        let Permissions { publish, subscribe } = Permissions::of_coordinator();
        assert!(may(&publish, "_INBOX.a.1f.run.o.3.0") && !may(&subscribe, "_INBOX.a.1f.run.o.3.0"));
        assert!(may(&subscribe, "_INBOX.0123.p7") && !may(&publish, "_INBOX.0123.p7"));
    }
}
