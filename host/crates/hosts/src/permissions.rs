//! What a message system has to permit, and nothing beside: to a host, which speaks under its own name only, to whoever starts
//! runs, and to whoever serves shared objects.
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
            publish: sends
                .chain([
                    // What its workers ask of the objects of a server, whichever that is.
                    format!("wp.s.*.{host}.*"),
                    subjects::host(host),
                    format!("$JS.API.CONSUMER.MSG.NEXT.*.{CONSUMER}"),
                ])
                .collect(),
            subscribe: vec![
                format!("{}.>", subjects::inbox(host)),
                subjects::ALL_CONTROLS.to_owned(),
                // Whether another process speaks under its name.
                subjects::host(host),
            ],
        }
    }

    /// Returns what whoever starts runs needs, and lists hosts.
    pub fn of_coordinator() -> Permissions {
        let receives = FromHost::ALL.iter().map(|(_, token)| format!("wp.*.{token}.*"));
        let publish = [
            "wp.*.c",
            "wp.*.k",
            "wp.*.w",
            // Which objects a server has, and what a program does with them.
            "wp.s.*.w",
            "wp.s.*.*.*.p",
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

    /// Returns what whoever serves shared objects needs.
    pub fn of_objects_server() -> Permissions {
        // The questions of others, and its own whether another server has its name; and answers to hosts and to programs.
        let publish = ["wp.s.*.w", "_INBOX.*.*.*.q", "_INBOX.*.*"];
        let subscribe = ["wp.s.*.w", "wp.s.*.*.*", "wp.s.*.*.*.p", "_INBOX.*.*"];
        Permissions { publish: publish.map(str::to_owned).into(), subscribe: subscribe.map(str::to_owned).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::RunId;
    use crate::tunnel::far::SiteName;

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
        assert!(may(&subscribe, &subjects::host(&host)) && !may(&subscribe, &subjects::host(&other)));
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

    #[test]
    fn nobody_speaks_to_a_server_of_objects_for_another() {
        let [host, other, server] = ["a", "b", "s"].map(|name| HostName::new(name).unwrap());
        let site = |host: &HostName, is_program| SiteName { host: host.clone(), run: RunId([7; 16]), is_program };
        let hosts = Permissions::of_host(&host).publish;
        assert!(may(&hosts, &subjects::server(&server, &site(&host, false))));
        assert!(!may(&hosts, &subjects::server(&server, &site(&other, false))));
        assert!(!may(&hosts, &subjects::server(&server, &site(&host, true))), "a host is no program");
        assert!(!may(&hosts, &subjects::server_question(&server)));
        let programs = Permissions::of_coordinator().publish;
        assert!(may(&programs, &subjects::server(&server, &site(&host, true))));
        assert!(may(&programs, &subjects::server_question(&server)));
        assert!(!may(&programs, &subjects::server(&server, &site(&host, false))), "a program is no host");
    }

    #[test]
    fn a_server_of_objects_answers_whoever_asks_it_and_does_no_more() {
        let Permissions { publish, subscribe } = Permissions::of_objects_server();
        let server = HostName::new("s").unwrap();
        for is_program in [false, true] {
            let site = SiteName { host: HostName::new("a").unwrap(), run: RunId([7; 16]), is_program };
            assert!(may(&subscribe, &subjects::server(&server, &site)));
            assert!(may(&publish, &subjects::objects_answer(&site, 0x1f)));
            assert!(!may(&subscribe, &subjects::objects_answer(&SiteName { is_program: false, ..site }, 0x1f)));
        }
        let host = HostName::new("a").unwrap();
        let run = RunId([7; 16]);
        let life = crate::names::HostLife { name: host.clone(), life: 1 };
        for not in [
            subjects::chunks(run),
            subjects::control(run),
            subjects::given(&life, run),
            FromHost::Outcomes.subject(run, &host),
        ] {
            assert!(!may(&publish, &not) && !may(&subscribe, &not), "{not}");
        }
    }
}
