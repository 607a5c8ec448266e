//! Who gets in to the message system, and what it permits to whom: as `serve --print-permissions` prints it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{done, goes_on_and_ends, is_complete, long_run, numbers, open_run, via};
use crate::shared::orders;
use crate::support::broker::{Broker, serving};
use crate::support::guest::wat;
use crate::support::nats::{Certificates, UserKey};
use crate::support::run::{Run, map, wasmpool};
use crate::support::until;
use crate::support::wat::SQUARE;

/// A chunk's number of deliveries, place in the stream and so on, of which a host could guess each.
const GUESSED: &str = "1.1.1.1700000000000000000.0";

#[test]
fn each_forbidden_act_of_a_host_is_refused_and_without_effect() {
    let Some(broker) = Broker::start() else { return };
    let (mut hostile, mut administrator) = (broker.speaker("hostile"), broker.administrator());
    let _host = broker.serve("a");
    let folder = TempDir::new().unwrap();
    let items = 6_000;
    let mut run = long_run(&broker, items, &folder, &["-c", "5"]);
    until("the run goes on", || (done(&folder) > 50).then_some(()));
    let stream = broker.streams().pop().expect("the stream of the run");
    let id = stream.trim_start_matches("WP-").to_owned();
    let ended = r#"{"coordinator":1,"ended":true}"#;
    let beat = r#"{"life":9,"workers":4000,"held":[],"leaving":true}"#;
    let everything = json!({ "name": "ALL", "subjects": ["wp.>"] }).to_string();
    let another = json!({ "stream_name": stream, "config": { "name": "x", "durable_name": "x" } }).to_string();
    let publishes = [
        ("the acknowledgement of a chunk", format!("$JS.ACK.{stream}.wp.{GUESSED}"), "+ACK"),
        ("a chunk", format!("wp.{id}.c"), "chunk"),
        ("outcomes of another host", format!("wp.{id}.o.a"), "outcomes"),
        ("the beat of another host to a coordinator", format!("wp.{id}.b.a"), beat),
        ("the beat of another host to all", "wp.h.a".to_owned(), beat),
        ("what another host asks for", format!("wp.{id}.i.a"), r#"{"task":{"offset":0}}"#),
        ("the end of a run", format!("wp.{id}.k"), ended),
        ("an answer to another host", format!("_INBOX.a.1.{id}.m.0"), "answer"),
        ("a stream's end", format!("$JS.API.STREAM.DELETE.{stream}"), ""),
        ("a stream's emptying", format!("$JS.API.STREAM.PURGE.{stream}"), ""),
        ("a look into a stream", format!("$JS.API.STREAM.MSG.GET.{stream}"), r#"{"seq":1}"#),
        ("a message's end", format!("$JS.API.STREAM.MSG.DELETE.{stream}"), r#"{"seq":1}"#),
        ("a stream", "$JS.API.STREAM.CREATE.ALL".to_owned(), &everything),
        ("a consumer", format!("$JS.API.CONSUMER.CREATE.{stream}.x"), &another),
        ("a consumer's end", format!("$JS.API.CONSUMER.DELETE.{stream}.wp"), ""),
        ("a pull from another consumer", format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.x"), ""),
    ];
    for (what, subject, payload) in &publishes {
        hostile.publish(subject, "_INBOX.hostile.x", payload.as_bytes());
        let errors = hostile.settle();
        assert!(errors.iter().any(|error| error.contains("Permissions Violation")), "{what}: {errors:?}");
    }
    for subject in
        [format!("wp.{id}.o.*"), format!("wp.{id}.b.a"), "wp.>".to_owned(), ">".to_owned(), "_INBOX.a.>".to_owned()]
            .iter()
            .chain(["_INBOX.>".to_owned(), format!("wp.{id}.c"), "wp.h.*".to_owned(), "$JS.>".to_owned()].iter())
    {
        hostile.subscribe(subject);
        let errors = hostile.settle();
        assert!(errors.iter().any(|error| error.contains("Permissions Violation")), "{subject}: {errors:?}");
    }
    // It may pull, and say where to: the server itself answers there, which must not be taken for somebody else.
    let pull = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.wp");
    for to in [
        format!("$JS.ACK.{stream}.wp.{GUESSED}"),
        format!("$JS.API.STREAM.DELETE.{stream}"),
        format!("wp.{id}.b.a"),
        format!("wp.{id}.o.a"),
        format!("wp.{id}.k"),
        format!("_INBOX.a.1.{id}.m.0"),
    ] {
        for bad in ["{", r#"{"batch":-1}"#, r#"{"batch":1,"expires":1000000,"no_wait":true,"max_bytes":1}"#] {
            hostile.publish(&pull, &to, bad.as_bytes());
        }
    }
    hostile.settle();
    assert_eq!(administrator.settle(), Vec::<String>::new());
    assert_eq!((run.code(), run.stderr()), (0, run.stderr()));
    is_complete(&folder, items);
    let said = run.said();
    assert!(!said.contains("host a breaks the protocol"), "{said}");
}

fn refused(run: Run, expected: &[&str]) {
    let said = run.input("1\n").run().exits(2).stderr;
    for part in expected {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("cannot be reached"), "{said}");
}

#[test]
fn whoever_the_server_does_not_know_is_told_why_and_what_helps() {
    let Some(broker) = Broker::start() else { return };
    let (square, folder) = (wat(SQUARE), TempDir::new().unwrap());
    let stranger = UserKey::new().write(folder.path().join("stranger"));
    let reason = ["Authorization Violation", "--creds FILE", "--nkey FILE"];
    let at = |run: Run| run.env("WASMPOOL_VIA", broker.url());
    refused(at(map(&square)), &reason);
    refused(at(map(&square)).arg("--nkey").arg(&stranger), &reason);
    refused(at(wasmpool().arg("serve")).arg("--nkey").arg(&stranger), &reason);
    refused(at(wasmpool().arg("hosts")).arg("--nkey").arg(&stranger), &reason);
    // A host cannot start runs, nor serve under another name than its own.
    refused(at(map(&square)).arg("--nkey").arg(broker.nkey("a")), &["does not permit", "--print-permissions"]);
    let other = at(wasmpool().args(["serve", "--name", "other"])).arg("--nkey").arg(broker.nkey("a"));
    refused(other, &["does not permit", "other", "--print-permissions"]);
}

#[test]
fn a_file_that_cannot_be_used_to_log_in_is_named_and_never_shown() {
    let (square, folder) = (wat(SQUARE), TempDir::new().unwrap());
    let key = UserKey::new();
    let seed = key.write(folder.path().join("seed"));
    let at = || map(&square).args(["--via", "nats://127.0.0.1:1"]);
    fs::set_permissions(&seed, fs::Permissions::from_mode(0o644)).unwrap();
    let mut said = Vec::new();
    let mut refused = |run: Run, expected: &str| {
        let stderr = run.input("1\n").run().exits(2).stderr;
        assert!(stderr.contains(expected) && stderr.contains(folder.path().to_str().unwrap()), "{expected}: {stderr}");
        said.push(stderr);
    };
    refused(at().arg("--nkey").arg(&seed), "chmod o-rwx");
    fs::set_permissions(&seed, fs::Permissions::from_mode(0o600)).unwrap();
    refused(at().arg("--creds").arg(&seed), "no file of credentials");
    refused(at().arg("--nkey").arg(folder.path().join("missing")), "No such file");
    refused(at().arg("--tls-ca").arg(&seed), "no certificate");
    // What the run would write over.
    refused(at().arg("--nkey").arg(&seed).arg("-o").arg(&seed), "--nkey");
    let several = || wasmpool().arg("map").arg("--task").arg(format!("a={}", square.path().display()));
    refused(several().args(["--via", "nats://127.0.0.1:1"]).arg("--nkey").arg(&seed).arg("-o").arg(&seed), "--nkey");
    let itself = at().args(["--nkey", &key.seed()]).input("1\n").run().exits(2).stderr;
    assert!(itself.contains("not as a file"), "{itself}");
    said.push(itself);
    for url in ["tls://joe:hidden-word@127.0.0.1", "joe:hidden-word@127.0.0.1:4222"] {
        let by_option = map(&square).args(["--via", url]).input("1\n").run().exits(2).stderr;
        let by_variable = map(&square).env("WASMPOOL_VIA", url).input("1\n").run().exits(2).stderr;
        assert!(
            [&by_option, &by_variable].iter().all(|said| !said.contains("hidden-word")),
            "{by_option}{by_variable}"
        );
    }
    assert!(said.iter().all(|said| !said.contains(&key.seed()[..20])), "{said:?}");
    let both = at().args(["--nkey", "a", "--creds", "b"]).run().exits(2).stderr;
    assert!(both.contains("--nkey") && both.contains("--creds"), "{both}");
    let alone = map(&square).args(["--nkey", "a"]).input("1\n").run().exits(2).stderr;
    assert!(alone.contains("--nkey") && alone.contains("--via"), "{alone}");
    // In the environment they may be for other runs.
    map(&square).env("WASMPOOL_NKEY", "a").input("3\n").run().exits(0);
    let password = map(&square).args(["--via", "tls://me:secret@nats.example.com"]).run().exits(2).stderr;
    assert!(password.contains("--creds FILE"), "{password}");
}

/// Returns a server with these certificates.
fn with_tls(certificates: &Certificates, more: &str) -> Option<Broker> {
    let (certificate, key) = (certificates.certificate.display(), certificates.key.display());
    Broker::configured(&format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" {more} }}"), None)
}

#[test]
fn a_run_over_tls_is_as_any_other_and_no_server_is_believed_whose_certificate_is_wrong() {
    let folder = TempDir::new().unwrap();
    let [right, wrong] = ["right", "wrong"].map(|name| Certificates::new(folder.path(), name, |_| {}));
    let Some(broker) = with_tls(&right, "") else { return };
    let square = wat(SQUARE);
    let tls = broker.url().replace("nats://", "tls://");
    let authority = |run: Run, of: &Certificates| run.env("WASMPOOL_TLS_CA", &of.authority);
    let host =
        wasmpool().args(["serve", "--via", &tls, "--name", "a", "-j", "1"]).env("WASMPOOL_NKEY", broker.nkey("a"));
    let host = authority(host, &right).start();
    until("a host serves", || host.said().contains(" serves with ").then_some(()));
    // A server at this machine that requires TLS gets it under nats://, too.
    for url in [&tls, &broker.url()] {
        let run = authority(via(&broker, map(&square)), &right).args(["--via", url]).input(numbers(3_000));
        assert_eq!(run.run().exits(0).lines().len(), 3_000);
    }
    let to = |url: &str| via(&broker, map(&square)).args(["--via", url]);
    refused(authority(to(&tls), &wrong), &["certificate is not accepted", "--tls-ca FILE"]);
    refused(to(&tls), &["certificate is not accepted", "--tls-ca FILE"]);
    refused(
        authority(to(&tls.replace("127.0.0.1", "localhost")), &right),
        &["certificate is not accepted: it is not for localhost but for 127.0.0.1"],
    );
    // Another authority would not help there.
    let other_name = authority(to(&tls.replace("127.0.0.1", "localhost")), &right).run().stderr;
    assert!(!other_name.contains("--tls-ca"), "{other_name}");
}

/// It says so in plain text, since there is no TLS yet.
#[test]
fn a_server_that_is_full_is_told_as_that_over_tls_too() {
    let folder = TempDir::new().unwrap();
    let certificates = Certificates::new(folder.path(), "right", |_| {});
    let (certificate, key) = (certificates.certificate.display(), certificates.key.display());
    let tls = format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}\nmax_connections: 1");
    let Some(broker) = Broker::configured(&tls, None) else { return };
    let url = broker.url().replace("nats://", "tls://");
    let with_tls = |run: Run| run.env("WASMPOOL_TLS_CA", &certificates.authority).args(["--via", &url]);
    let host = with_tls(wasmpool().args(["serve", "--name", "a", "-j", "1"])).env("WASMPOOL_NKEY", broker.nkey("a"));
    let host = host.start();
    until("a host serves", || host.said().contains(" serves with ").then_some(()));
    let run = with_tls(via(&broker, map(&wat(SQUARE)))).input("3\n").start();
    until("it tells that the server is full", || run.said().contains("maximum connections exceeded").then_some(()));
}

/// Returns a run over a server that has these certificates, and of TLS this besides.
fn over_tls(certificates: &Certificates, more: &str) -> Option<(Broker, Run)> {
    let broker = with_tls(certificates, more)?;
    let tls = broker.url().replace("nats://", "tls://");
    let run = via(&broker, map(&wat(SQUARE))).env("WASMPOOL_TLS_CA", &certificates.authority).args(["--via", &tls]);
    Some((broker, run))
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_in_plain_words() {
    type Change = fn(&mut rcgen::CertificateParams);
    let folder = TempDir::new().unwrap();
    let cases: [(&str, Change, &str); 4] = [
        ("old", |made| made.not_after = rcgen::date_time_ymd(2020, 1, 1), "it has expired: the server needs a new one"),
        ("new", |made| made.not_before = rcgen::date_time_ymd(2090, 1, 1), "it is not valid yet: is the clock"),
        (
            "of-authority",
            |made| made.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained),
            "it is that of an authority, or has signed itself",
        ),
        (
            "of-client",
            |made| made.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth],
            "it is not for servers",
        ),
    ];
    for (name, change, words) in cases {
        let certificates = Certificates::new(folder.path(), name, change);
        let Some((_broker, run)) = over_tls(&certificates, "") else { return };
        let said = run.input("1\n").run().exits(2).stderr;
        assert!(said.contains(&format!("its certificate is not accepted: {words}")), "{name}: {said}");
        assert!(!said.contains("--tls-ca") && !said.contains("is the server started"), "{name}: {said}");
    }
}

#[test]
fn a_server_that_wants_a_certificate_of_its_clients_is_said_to_do_so() {
    let folder = TempDir::new().unwrap();
    let certificates = Certificates::new(folder.path(), "right", |_| {});
    let more = format!(", ca_file: \"{}\", verify: true", certificates.authority.display());
    let Some((_broker, run)) = over_tls(&certificates, &more) else { return };
    refused(run, &["cannot be used: it wants a certificate of its clients"]);
}

#[test]
fn a_server_with_an_old_tls_alone_is_said_to_have_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tls = format!("tls://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let info = b"INFO {\"max_payload\":1048576,\"tls_required\":true}\r\n";
            // The alert that its version is not one of the client's.
            const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 70];
            let _ =
                stream.write_all(info).and_then(|()| stream.read(&mut [0; 4096])).and_then(|_| stream.write_all(ALERT));
        }
    });
    let folder = TempDir::new().unwrap();
    let certificates = Certificates::new(folder.path(), "any", |_| {});
    let run = map(&wat(SQUARE)).args(["--via", &tls]).env("WASMPOOL_TLS_CA", &certificates.authority);
    refused(run, &["cannot be used: it has no TLS 1.3"]);
}

#[test]
fn a_server_without_tls_is_told_nothing_where_tls_is_asked_for() {
    let Some(broker) = Broker::start() else { return };
    let tls = broker.url().replace("nats://", "tls://");
    refused(via(&broker, map(&wat(SQUARE))).args(["--via", &tls]), &[&tls, "no TLS"]);
}

/// Returns a JWT with these claims that this key has signed.
fn jwt(key: &UserKey, claims: &Value) -> String {
    let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    let head = encode(json!({ "typ": "JWT", "alg": "ed25519-nkey" }).to_string().as_bytes());
    let signed = format!("{head}.{}", encode(claims.to_string().as_bytes()));
    format!("{signed}.{}", key.sign(&signed))
}

#[test]
fn credentials_log_in_until_they_expire() {
    let (operator, account, user) = (UserKey::new(), UserKey::new(), UserKey::new());
    let (of_operator, of_account) = (operator.public_of('O'), account.public_of('A'));
    let claims = |issuer: &str, subject: &str, nats: Value| json!({ "jti": "x", "iat": 1, "iss": issuer, "sub": subject, "name": subject, "nats": nats });
    let no_streams = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    let mut limits = no_streams.clone();
    for (name, most) in [("mem_storage", 1_000_000_000), ("disk_storage", 1_000_000), ("streams", 9), ("consumer", 9)] {
        limits[name] = most.into();
    }
    let operator_jwt = jwt(&operator, &claims(&of_operator, &of_operator, json!({ "type": "operator", "version": 2 })));
    let of_run = jwt(
        &operator,
        &claims(&of_operator, &of_account, json!({ "type": "account", "version": 2, "limits": limits })),
    );
    let system = UserKey::new().public_of('A');
    let of_system = jwt(
        &operator,
        &claims(&of_operator, &system, json!({ "type": "account", "version": 2, "limits": no_streams })),
    );
    let configuration = format!(
        "operator: {operator_jwt}\nsystem_account: {system}\nresolver: MEMORY\n\
         resolver_preload {{ {of_account}: {of_run}\n {system}: {of_system} }}"
    );
    let Some(broker) = Broker::of_operator(&configuration) else { return };
    let folder = TempDir::new().unwrap();
    let credentials = |name: &str, expires: Option<u64>| {
        let mut all = claims(
            &of_account,
            &user.public(),
            json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 }),
        );
        expires.into_iter().for_each(|at| all["exp"] = at.into());
        let path = folder.path().join(name);
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{}\n\
             ------END USER NKEY SEED------\n",
            jwt(&account, &all),
            user.seed()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let at = |run: Run, file| run.env("WASMPOOL_VIA", broker.url()).env("WASMPOOL_CREDS", file);
    let good = credentials("good", None);
    let host = at(wasmpool().args(["serve", "--name", "a", "-j", "1"]), good.clone()).start();
    until("a host serves", || host.said().contains(" serves with ").then_some(()));
    let run = at(map(&wat(SQUARE)), good.clone()).input(numbers(500));
    assert_eq!(run.run().exits(0).lines().len(), 500);
    refused(
        at(map(&wat(SQUARE)), credentials("old", Some(1_000_000_000))),
        &["refuses the connection", "--creds FILE"],
    );
}

#[test]
fn an_account_without_room_for_another_run_is_said_to_have_none() {
    let one = "    jetstream { max_memory: 1G, max_file: 1M, max_streams: 1, max_consumers: 10 }";
    let Some(broker) = Broker::configured("", Some(one)) else { return };
    let folder = TempDir::new().unwrap();
    let mut first = long_run(&broker, 200_000, &folder, &[]);
    until("the first run has its stream", || broker.has_streams().then_some(()));
    refused(via(&broker, map(&wat(SQUARE))), &["cannot carry a run", "streams", "limits of the server or the account"]);
    first.signal(nix::sys::signal::Signal::SIGKILL);
    first.wait();
    let small = "    jetstream { max_memory: 1M, max_file: 1M, max_streams: 9, max_consumers: 10 }";
    let Some(broker) = Broker::configured("", Some(small)) else { return };
    refused(
        via(&broker, map(&wat(SQUARE))),
        &["cannot carry a run", "in memory", "limits of the server or the account"],
    );
    let Some(broker) = Broker::configured("", Some(&one.replace("max_file: 1M", "max_file: 1K"))) else { return };
    let run = via(&broker, map(&wat(SQUARE))).args(["--via-storage", "file"]);
    refused(run, &["cannot carry a run", "in files", "the disk of the server is full"]);
}

#[test]
fn a_server_that_takes_only_small_messages_is_said_to_do_so() {
    let Some(broker) = Broker::configured("max_payload: 1000", None) else { return };
    let wanted = ["messages of 1000 bytes", "`max_payload`", "16384 are needed"];
    refused(via(&broker, map(&wat(SQUARE))), &wanted);
    refused(broker.host("a"), &wanted);
}

#[test]
fn permissions_are_printed_for_a_host_by_its_name() {
    let folder = TempDir::new().unwrap();
    let key = UserKey::new();
    let seed = key.write(folder.path().join("seed"));
    let printed = wasmpool().args(["serve", "--print-permissions", "h1"]).run().exits(0);
    let named = wasmpool().args(["serve", "--print-permissions", "--name", "h1"]).run().exits(0);
    assert_eq!(printed.text(), named.text());
    for part in ["wp.*.o.h1", "_INBOX.h1.>", "$JS.API.CONSUMER.MSG.NEXT.*.wp", "nsc add user", "PUBLIC-KEY-OF-h1"] {
        assert!(printed.text().contains(part), "{part}: {}", printed.text());
    }
    let document = fs::read_to_string(crate::support::workspace().join("docs/hosts.md")).unwrap();
    let (configuration, _) = printed.text().split_once("\n\n").unwrap();
    assert!(document.contains(configuration), "docs/hosts.md shows other permissions than are printed");
    let with_key = wasmpool().args(["serve", "--print-permissions", "h1"]).arg("--nkey").arg(&seed).run().exits(0);
    assert!(with_key.text().contains(&key.public()) && !with_key.text().contains(&key.seed()[..20]));
    let nameless = wasmpool().args(["serve", "--print-permissions"]).run().exits(2).stderr;
    assert!(nameless.contains("--name HOST"), "{nameless}");
}

#[test]
fn a_run_that_lacks_a_permission_ends_with_its_name() {
    for subject in ["wp.*.c", "wp.*.k", "_INBOX.*.*.*.>", "$JS.API.CONSUMER.CREATE.*.wp"] {
        let Some(broker) = Broker::start() else { return };
        broker.forbid(subject);
        let _host = broker.serve("a");
        let said = broker.via(map(&wat(SQUARE))).input("1\n").run().exits(2).stderr;
        let begins = subject.split('*').next().expect("a part");
        assert!(said.contains("does not permit") && said.contains(begins), "{subject}: {said}");
        assert!(said.contains("--print-permissions"), "{subject}: {said}");
    }
}

#[test]
fn a_host_without_a_permission_that_only_some_runs_need_refuses_those_and_serves_the_others() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    broker.key("a");
    broker.forbid("wp.*.q.a");
    broker.forbid("wp.s.*.a.*");
    let mut host = broker.serve("a");
    let _server = broker.serve_objects(folder.path(), "s", &["gate = \"lock\""]);
    let (mut plain, input) = open_run(&broker);
    for (share, subject) in [("gate=lock", ".q.a\""), ("gate@s", "\"wp.s.s.a.")] {
        let said = broker.via(orders(&[share])).input("lock gate -\n").run().exits(2).stderr;
        let expected = ["no host serves this run; a: ", "does not permit what a run with these shared objects needs"];
        assert!(expected.iter().all(|part| said.contains(part)) && said.contains(subject), "{said}");
    }
    assert_eq!(host.said().matches("a run is not served: ").count(), 2, "{}", host.said());
    assert!(!host.has_ended(), "{}", host.said());
    goes_on_and_ends(&mut plain, input);
}

#[test]
fn a_server_of_objects_that_lacks_a_permission_ends_with_its_name() {
    let folder = TempDir::new().unwrap();
    for subject in ["wp.s.*.w", "wp.s.*.*.*", "wp.s.*.*.*.p", "_INBOX.*.*.*.q", "_INBOX.*.*"] {
        let Some(broker) = Broker::start() else { return };
        broker.forbid(subject);
        let said = broker.objects(folder.path(), "s", &["total = \"value:s64\""]).run().exits(2).stderr;
        let begins = subject.split('*').next().expect("a part");
        assert!(said.contains(&format!("\"{begins}")) && said.contains("--print-permissions"), "{subject}: {said}");
        assert_eq!(said.matches("does not permit").count(), 1, "{subject}: {said}");
    }
}

#[test]
fn a_server_of_objects_whose_permission_is_withdrawn_ends_and_keeps_what_it_holds() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state.json");
    let _host = broker.serve("a");
    let mut server = serving(broker.objects(folder.path(), "s", &["total = \"value:s64\""]).arg("--state").arg(&state));
    broker.via(orders(&["total@s"])).input("add total s64:5\n").run().exits(0);
    broker.forbid("wp.s.*.*.*");
    assert_eq!(server.code(), 2, "{}", server.said());
    assert!(server.said().contains("Subscription to \"wp.s.s.*.*\""), "{}", server.said());
    assert_eq!(fs::read_to_string(&state).unwrap().trim_end(), "{\"total\":5}");
}
