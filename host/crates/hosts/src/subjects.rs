//! The broker's subjects and streams. Who may publish where is what its permissions are made of: a host publishes under
//! its own name only, and never to the stream of chunks.

use crate::chunk::CopyNumber;
use crate::names::{HostLife, HostName, RunId};
use crate::tunnel::far::SiteName;

/// The beats of all hosts, to whoever asks which hosts there are.
pub const ALL_HOSTS: &str = "wp.h.*";
/// What all coordinators say to hosts.
pub const ALL_CONTROLS: &str = "wp.*.k";
/// The consumer through which all hosts pull chunks.
pub const CONSUMER: &str = "wp";

/// Returns the start of the subjects on which a host is answered. It has more tokens behind it than a coordinator's inbox, so
/// that permissions tell them apart.
pub fn inbox(host: &HostName) -> String {
    format!("_INBOX.{host}")
}

/// Returns true if a subject is one on which this host, and no other, is answered.
pub fn is_in_inbox(subject: &str, host: &HostName) -> bool {
    let rest = subject.strip_prefix("_INBOX.").and_then(|rest| rest.strip_prefix(host.as_str()));
    let tokens = rest.and_then(|rest| rest.strip_prefix('.'));
    tokens.is_some_and(|tokens| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        subject.len() <= MOST_INBOX
            && tokens.split('.').count() >= LEAST_TOKENS
            && tokens.split('.').all(|token| !token.is_empty() && token.bytes().all(plain))
    })
}

/// Number of tokens behind a host's name at least: fewer are permitted to nobody.
const LEAST_TOKENS: usize = 3;
/// Maximum bytes of a subject in a host's inbox.
const MOST_INBOX: usize = 256;

/// Returns the subject of a host's beat to everybody.
pub fn host(host: &HostName) -> String {
    format!("wp.h.{host}")
}

/// Returns the stream of a run's chunks.
pub fn stream(run: RunId) -> String {
    format!("WP-{run}")
}

/// Returns the subject of a run's chunks.
pub fn chunks(run: RunId) -> String {
    format!("wp.{run}.c")
}

/// Returns the subject on which a coordinator answers whoever asks whether there is one.
pub fn presence(run: RunId) -> String {
    format!("wp.{run}.w")
}

/// Returns the start of the subjects on which one life of a host is answered, and given what it has not asked for.
pub fn inbox_of_life(host: &HostLife) -> String {
    format!("{}.{:x}", inbox(&host.name), host.life)
}

/// Returns the subject on which a coordinator gives a host a chunk past the stream.
pub fn given(host: &HostLife, run: RunId) -> String {
    format!("{}.{run}.d", inbox_of_life(host))
}

/// Returns the subject on which a coordinator tells a host that outcomes of a copy are not wanted any more.
pub fn dropped(host: &HostLife, run: RunId, copy: CopyNumber) -> String {
    format!("{}.{run}.x.{copy}", inbox_of_life(host))
}

/// Returns the run whose chunks a stream has.
pub fn streamed(stream: &str) -> Option<RunId> {
    RunId::of_token(stream.strip_prefix("WP-")?)
}

/// Returns the subject of what a coordinator says to hosts.
pub fn control(run: RunId) -> String {
    format!("wp.{run}.k")
}

/// Returns the subject on which a near end is answered what its workers, or its program, ask of shared objects.
pub fn objects_answer(site: &SiteName, life: u64) -> String {
    match site.is_program {
        false => format!("{}.{}.{OBJECTS}", inbox_of_life(&HostLife { name: site.host.clone(), life }), site.run),
        // As many tokens as the inbox of any program that is no host.
        true => format!("{}.{life:x}", program_inbox(site.run)),
    }
}

/// Returns the start of the subjects on which a program is answered that is no host. It has so many tokens less than those of
/// hosts that permissions tell them apart.
pub fn program_inbox(program: RunId) -> String {
    format!("_INBOX.{program}")
}

/// Returns true if a subject is one on which a program that is no host may be answered.
pub fn is_in_program_inbox(subject: &str) -> bool {
    let rest = subject.strip_prefix("_INBOX.").and_then(|rest| rest.split_once('.'));
    rest.is_some_and(|(program, token)| {
        RunId::of_token(program).is_some()
            && (1..=MOST_INBOX).contains(&token.len())
            && token.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Returns the run whose shared objects are spoken of under this end of a subject.
pub fn objects_answered(token: &str) -> Option<RunId> {
    RunId::of_token(token.strip_suffix(OBJECTS)?.strip_suffix('.')?)
}

const OBJECTS: &str = "q";

/// Returns the subject of what a host sends to a server of shared objects for a run, or a program for itself.
pub fn server(server: &HostName, site: &SiteName) -> String {
    let program = if site.is_program { PROGRAM } else { "" };
    format!("wp.s.{server}.{}.{}{program}", site.host, site.run)
}

/// Returns the subjects of what all hosts, and all programs, send to a server of shared objects.
pub fn server_of_all(server: &HostName) -> [String; 2] {
    [format!("wp.s.{server}.*.*"), format!("wp.s.{server}.*.*{PROGRAM}")]
}

/// Returns the run for which a host asks for shared objects under this subject.
pub fn objects_asked(subject: &str, host: &HostName) -> Option<RunId> {
    let rest = subject.strip_prefix("wp.")?;
    let run = match rest.strip_prefix("s.") {
        Some(of_server) => of_server.split_once('.')?.1.strip_prefix(host.as_str())?.strip_prefix('.')?,
        None => rest.strip_suffix(host.as_str())?.strip_suffix('.')?.strip_suffix(OBJECTS)?.strip_suffix('.')?,
    };
    RunId::of_token(run)
}

/// Returns the subject on which a server of shared objects is asked which it has. Nobody answers if there is none.
pub fn server_question(server: &HostName) -> String {
    format!("wp.s.{server}.w")
}

/// Returns who speaks to this server of shared objects.
pub fn serving(subject: &str, server: &HostName) -> Option<SiteName> {
    let site = subject.strip_prefix("wp.s.")?.strip_prefix(server.as_str())?.strip_prefix('.')?;
    let (site, is_program) = site.strip_suffix(PROGRAM).map_or((site, false), |site| (site, true));
    let (host, run) = site.split_once('.')?;
    Some(SiteName { host: HostName::new(host).ok()?, run: RunId::of_token(run)?, is_program })
}

/// The last token of what a program sends. Hosts are permitted no subject of so many tokens.
const PROGRAM: &str = ".p";

/// What a host sends to a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromHost {
    /// Outcomes of a chunk, which are answered.
    Outcomes,
    /// Its beat: see [`crate::notes::RunBeat`].
    Beat,
    /// A request for bytes: see [`crate::notes::Wanted`].
    Fetch,
    /// What workers ask of shared objects: see [`crate::tunnel`].
    Objects,
}

impl FromHost {
    pub(crate) const ALL: [(FromHost, &str); 4] =
        [(FromHost::Outcomes, "o"), (FromHost::Beat, "b"), (FromHost::Fetch, "i"), (FromHost::Objects, OBJECTS)];

    fn token(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, token)| token)
    }

    /// Returns the subject of what this host sends.
    pub fn subject(self, run: RunId, host: &HostName) -> String {
        format!("wp.{run}.{}.{host}", self.token())
    }

    /// Returns the subjects of what all hosts send.
    pub fn of_all(self, run: RunId) -> String {
        format!("wp.{run}.{}.*", self.token())
    }

    /// Returns what came on this subject, and the host whose name is in it. The broker lets no host use another's.
    pub fn parse(subject: &str, run: RunId) -> Option<(FromHost, HostName)> {
        let rest = subject.strip_prefix("wp.")?.strip_prefix(run.to_string().as_str())?.strip_prefix('.')?;
        let (token, host) = rest.split_once('.')?;
        let (kind, _) = Self::ALL.into_iter().find(|(_, of)| *of == token)?;
        Some((kind, HostName::new(host).ok()?))
    }
}

/// Returns the run whose coordinator speaks on this subject.
pub fn controlled(subject: &str) -> Option<RunId> {
    RunId::of_token(subject.strip_prefix("wp.")?.strip_suffix(".k")?)
}

/// Returns the run whose chunk came on this subject.
pub fn chunked(subject: &str) -> Option<RunId> {
    RunId::of_token(subject.strip_prefix("wp.")?.strip_suffix(".c")?)
}

/// Returns the host whose beat came on this subject.
pub fn beating(subject: &str) -> Option<HostName> {
    HostName::new(subject.strip_prefix("wp.h.")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunId = RunId([7; 16]);

    #[test]
    fn the_inbox_of_a_host_is_none_of_another() {
        let host = HostName::new("a-1").unwrap();
        assert!(is_in_inbox(&format!("{}.1f.{RUN}.o.3.0", inbox(&host)), &host));
        for other in [
            "_INBOX.a-1",
            "_INBOX.a-1.",
            "_INBOX.a-1..x",
            "_INBOX.a-1.1f.x",
            "_INBOX.a-10.x",
            "_INBOX.a-1.*",
            "_INBOX.a-1.>",
            "_INBOX.a-1.x y",
            "_INBOX.a-1.x\r\nPUB",
            "_INBOX.b.x",
            "$JS.ACK.WP-1.wp.1.1.1.1.0",
            &chunks(RUN),
            &control(RUN),
        ] {
            assert!(!is_in_inbox(other, &host), "{other}");
        }
    }

    #[test]
    fn a_host_knows_for_which_run_it_asks_for_objects() {
        let [host, server] = ["a-1", "s"].map(|name| HostName::new(name).unwrap());
        let asked = [
            FromHost::Objects.subject(RUN, &host),
            super::server(&server, &SiteName { host: host.clone(), run: RUN, is_program: false }),
        ];
        assert_eq!(asked.map(|subject| objects_asked(&subject, &host)), [Some(RUN); 2]);
        let program = SiteName { host: host.clone(), run: RUN, is_program: true };
        for other in [
            FromHost::Outcomes.subject(RUN, &host),
            FromHost::Objects.subject(RUN, &server),
            super::host(&host),
            super::server(&server, &program),
            server_question(&server),
            control(RUN),
            format!("{}.>", inbox(&host)),
            "wp.q.a-1".to_owned(),
        ] {
            assert_eq!(objects_asked(&other, &host), None, "{other}");
        }
    }

    #[test]
    fn who_speaks_to_a_server_of_objects_is_known_by_the_subject() {
        let (name, host) = (HostName::new("s").unwrap(), HostName::new("a-1").unwrap());
        for is_program in [false, true] {
            let site = SiteName { host: host.clone(), run: RUN, is_program };
            let subject = server(&name, &site);
            assert_eq!(serving(&subject, &name), Some(site));
            assert_eq!(serving(&subject, &host), None);
        }
        for other in
            [server_question(&name), format!("wp.s.s.a.{RUN}.p.p"), format!("wp.s.s.{RUN}"), "wp.s.s.p".to_owned()]
        {
            assert_eq!(serving(&other, &name), None, "{other}");
        }
    }

    #[test]
    fn no_inbox_of_a_program_is_one_of_a_host() {
        let site = SiteName { host: HostName::new("a").unwrap(), run: RUN, is_program: true };
        let subject = objects_answer(&site, 0x1f);
        assert!(is_in_program_inbox(&subject) && !is_in_inbox(&subject, &HostName::of_text(&RUN.to_string())));
        for other in [
            format!("_INBOX.{RUN}"),
            format!("_INBOX.{RUN}."),
            format!("_INBOX.{RUN}.a.b.c"),
            format!("_INBOX.{RUN}.>"),
        ] {
            assert!(!is_in_program_inbox(&other), "{other}");
        }
    }

    #[test]
    fn what_a_host_sends_is_known_by_its_subject_and_named_after_the_host() {
        let host = HostName::new("a-1").unwrap();
        for (kind, _) in FromHost::ALL {
            assert_eq!(FromHost::parse(&kind.subject(RUN, &host), RUN), Some((kind, host.clone())));
            assert_eq!(FromHost::parse(&kind.subject(RunId([8; 16]), &host), RUN), None);
        }
        for other in
            [chunks(RUN), control(RUN), format!("wp.{RUN}.o"), format!("wp.{RUN}.o.a.b"), format!("wp.{RUN}.x.a")]
        {
            assert_eq!(FromHost::parse(&other, RUN), None, "{other}");
        }
        assert_eq!(controlled(&control(RUN)), Some(RUN));
        assert_eq!(controlled(&chunks(RUN)), None);
        assert_eq!(chunked(&chunks(RUN)), Some(RUN));
        assert_eq!(chunked(&control(RUN)), None);
        assert_eq!(beating(&super::host(&host)), Some(host));
    }
}
