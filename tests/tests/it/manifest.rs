//! A plugin's manifest asks; only the user grants, and the plugin gets no more than both say.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::guest::{built, wat};
use crate::support::run::{Output, Run, wasmpool};
use crate::support::wat::SQUARE;

/// A directory with a plugin: the guest `reach` and its manifest.
struct Plugin {
    folder: TempDir,
}

impl Plugin {
    fn new(manifest: &str) -> Plugin {
        let folder = TempDir::new().expect("a temporary directory");
        std::fs::copy(built("reach").path(), folder.path().join("reach.wasm")).expect("a copy");
        let plugin = Plugin { folder };
        plugin.write("plugin.toml", &format!("wasm = \"reach.wasm\"\n{manifest}"));
        plugin.write("in/a.txt", "hello");
        plugin
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    fn dir(&self, guest: &str) -> String {
        format!("--dir={}::{guest}", self.path("in").display())
    }

    /// Returns `wasmpool map` of the plugin, with orders as items.
    fn map(&self, args: &[&str], orders: &[&str]) -> Run {
        of(self.folder.path(), args, orders)
    }
}

fn of(task: &Path, args: &[&str], orders: &[&str]) -> Run {
    let input: String = orders.iter().map(|order| format!("{}\n", serde_json::Value::from(*order))).collect();
    wasmpool().arg("map").arg(task).args(["-j", "1", "--output-format", "records"]).args(args).input(input)
}

/// Returns the value of each item, or the kind of its failure.
fn endings(output: &Output) -> Vec<String> {
    let ending = |record: &crate::support::record::Record| match record.kind() {
        "ok" => record.value().as_str().expect("a string").to_owned(),
        kind => kind.to_owned(),
    };
    output.records().iter().map(ending).collect()
}

#[test]
fn what_a_manifest_asks_for_is_not_given_but_told_with_the_option_that_gives_it() {
    let plugin = Plugin::new(
        "[grants]\nenv = [\"LANG\"]\ndir = [\"/in\", \"/out:rw\"]\nallow-net = [\"example.org:443\"]\nscratch = \"/tmp\"",
    );
    let orders = ["env", "read:/in/a.txt", "write:/out/a=1", "write:/tmp/a=1"];
    let output = plugin.map(&[], &orders).env("LANG", "C").run().exits(1);
    assert_eq!(endings(&output), ["", "error", "error", "error"]);
    for option in
        ["--env LANG=VALUE", "--dir HOST::/in ", "--dir HOST::/out:rw", "--allow-net example.org:443", "--scratch /tmp"]
    {
        assert_eq!(output.stderr.matches(option).count(), 1, "{option}: {}", output.stderr);
    }
    let quiet = plugin.map(&["-q"], &orders).run();
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_plugin_gets_what_it_asks_for_and_the_user_gives() {
    let plugin = Plugin::new("[grants]\nenv = [\"LANG\"]\ndir = [\"/in\"]\nscratch = \"/tmp\"");
    let args = ["--env=LANG=C", &plugin.dir("/in"), "--scratch=/tmp"];
    let orders = ["env", "read:/in/a.txt", "new:/tmp/a=1 ; list:/tmp"];
    let output = plugin.map(&args, &orders).run().exits(0);
    assert_eq!(endings(&output), ["LANG=C\n", "hello", "a"]);
    assert!(!output.stderr.contains("plugin"), "{}", output.stderr);
}

#[test]
fn what_a_plugin_does_not_ask_for_is_withheld_and_told() {
    let plugin = Plugin::new("[grants]\ndir = [\"/in\"]");
    let args = ["--env=KEY=secret", &format!("{}:rw", plugin.dir("/in")), &plugin.dir("/more"), "--scratch=/tmp"];
    let orders = ["env", "read:/in/a.txt", "write:/in/a.txt=x", "read:/more/a.txt", "write:/tmp/a=1"];
    let output = plugin.map(&args, &orders).run().exits(1);
    assert_eq!(endings(&output), ["", "hello", "error", "error", "error"]);
    for named in ["--env KEY=", "writing to --dir", "::/more", "--scratch /tmp"] {
        assert!(output.stderr.contains(named), "{named}: {}", output.stderr);
    }
    assert!(!output.stderr.contains("secret"), "{}", output.stderr);
}

#[test]
fn of_each_limit_the_smaller_holds() {
    let spin = ["spin"];
    let timed_out = |output: Output| assert_eq!(endings(&output), ["timeout"]);
    timed_out(Plugin::new("[limits]\ntimeout = \"300ms\"").map(&[], &spin).run());
    timed_out(Plugin::new("[limits]\ntimeout = \"10m\"").map(&["--timeout", "300ms"], &spin).run());
    timed_out(Plugin::new("[limits]\ntimeout = \"300ms\"").map(&["--timeout", "10m"], &spin).run());
    let output = Plugin::new("[limits]\nfuel = 100000").map(&["--fuel", "100000000000"], &spin).run();
    assert_eq!(endings(&output), ["fuel"]);
    let output = Plugin::new("[limits]\nmemory = \"1GiB\"").map(&["--memory", "64KiB"], &["env"]).run().exits(2);
    assert!(output.stderr.contains("more than --memory 64KiB allows"), "{}", output.stderr);
    // Limits that it wants raised are reported.
    let output = Plugin::new("[limits]\nmemory = \"1GiB\"\ntimeout = \"1h\"").map(&[], &["env"]).run().exits(0);
    for named in ["1 GiB of memory", "256 MiB", "--memory", "1h for each item", "--timeout"] {
        assert!(output.stderr.contains(named), "{named}: {}", output.stderr);
    }
    let output = Plugin::new("[limits]\nmax-output = \"1\"").map(&[], &["size:/"]).run();
    assert_eq!(endings(&output).len(), 1);
}

#[test]
fn a_plugin_is_found_by_its_directory_its_manifest_and_its_wasm() {
    let plugin = Plugin::new("function = \"act\"\n[grants]\ndir = [\"/in\"]");
    let dir = plugin.dir("/in");
    for name in ["", "plugin.toml", "reach.wasm"] {
        let output = of(&plugin.path(name), &[&dir, "--scratch=/tmp"], &["read:/in/a.txt"]).run().exits(0);
        assert_eq!(endings(&output), ["hello"], "{name}");
        assert!(output.stderr.contains("--scratch /tmp"), "{name}: {}", output.stderr);
        wasmpool().arg("call").arg(plugin.path(name)).args(["act", "\"env\""]).run().exits(0);
        wasmpool().arg("compile").arg(plugin.path(name)).run().exits(0);
    }
    // A manifest that names another file does not apply to this one.
    std::fs::copy(plugin.path("reach.wasm"), plugin.path("other.wasm")).expect("a copy");
    let output = of(&plugin.path("other.wasm"), &["--scratch=/tmp"], &["new:/tmp/a=1"]).run().exits(0);
    assert_eq!(endings(&output), ["done"]);
}

#[test]
fn the_manifest_names_the_function_unless_the_user_does() {
    let plugin = Plugin::new("function = \"no-such-function\"");
    let said = plugin.map(&[], &["env"]).run().exits(2).stderr;
    assert!(said.contains("no-such-function") && said.contains("plugin.toml names this function"), "{said}");
    let said = plugin.map(&["-f", "no-such-function"], &["env"]).run().exits(2).stderr;
    assert!(!said.contains("plugin.toml names"), "{said}");
    plugin.map(&["-f", "act"], &["env"]).run().exits(0);
}

#[test]
fn a_policy_gives_in_the_same_words_and_the_command_line_counts_for_more() {
    let plugin = Plugin::new("[grants]\nenv = [\"A\", \"B\"]\ndir = [\"/in\"]");
    plugin.write(
        "user/policy.toml",
        "[limits]\ntimeout = \"300ms\"\nmemory = \"512MiB\"\n\
         [grants]\nenv = [\"A=policy\", \"B=policy\", \"C=policy\"]\ndir = [\"../in::/in\"]\n",
    );
    let policy = plugin.path("user/policy.toml");
    let policy = policy.to_str().expect("a path");
    let output = plugin.map(&["--policy", policy, "--env=A=said"], &["env", "read:/in/a.txt", "spin"]).run().exits(1);
    let values = endings(&output);
    let mut variables: Vec<&str> = values[0].lines().collect();
    variables.sort_unstable();
    assert_eq!(variables, ["A=said", "B=policy"]);
    assert_eq!(values[1..], ["hello", "timeout"]);
    // The policy applies to a task without a manifest, too, and can be named in the environment.
    let order = serde_json::Value::from("read:/in/a.txt").to_string();
    wasmpool().arg("call").task(&built("reach")).args(["act", &order]).env("WASMPOOL_POLICY", policy).run().exits(0);
}

#[test]
fn a_file_that_is_wrong_is_wrong_use_that_names_the_key() {
    for (manifest, named) in [
        ("funktion = \"f\"", &["plugin.toml", "funktion", "function"][..]),
        ("[grants]\nnet = []", &["net", "allow-net"]),
        ("[grants]\ndir = [\"/etc::/in\"]", &["/etc::/in"]),
        ("[limits]\nmemory = \"lots\"", &["memory", "256MiB"]),
        ("wasm = \"twice\"", &["wasm"]),
        ("=", &["plugin.toml"]),
    ] {
        let output = Plugin::new(manifest).map(&[], &["env"]).run().exits(2);
        assert!(named.iter().all(|name| output.stderr.contains(name)), "{}", output.stderr);
    }
    let plugin = Plugin::new("");
    for wasm in ["../reach.wasm", "/etc/passwd", ""] {
        plugin.write("plugin.toml", &format!("wasm = \"{wasm}\""));
        assert!(plugin.map(&[], &["env"]).run().exits(2).stderr.contains("`wasm`"), "{wasm}");
    }
    plugin.write("plugin.toml", &"#".repeat(100_000));
    assert!(plugin.map(&[], &["env"]).run().exits(2).stderr.contains("64 KiB"));
    let empty = TempDir::new().expect("a temporary directory");
    assert!(of(empty.path(), &[], &["env"]).run().exits(2).stderr.contains("plugin.toml"));
    plugin.write("policy.toml", "[grants]\ndir = [\"/in\"]");
    let policy = plugin.path("policy.toml");
    let output = of(built("reach").path(), &["--policy", policy.to_str().expect("a path")], &["env"]).run().exits(2);
    assert!(output.stderr.contains("HOST::GUEST"), "{}", output.stderr);
}

#[test]
fn inspect_says_what_a_plugin_asks_for_in_words() {
    let plugin = Plugin::new(
        "function = \"act\"\n[limits]\ntimeout = \"5s\"\n[grants]\ndir = [\"/data\"]\nallow-net = [\"api.example.org:443\"]",
    );
    let output = wasmpool().arg("inspect").arg(plugin.path("reach.wasm")).run().exits(0);
    for sentence in [
        "It asks to read files below a directory it calls `/data`.",
        "It asks to connect to `api.example.org:443`.",
        "no more than 5s for each item",
        "function of the plugin: `act`",
    ] {
        assert!(output.text().contains(sentence), "{sentence}: {}", output.text());
    }
    let wrong = Plugin::new("function = \"check\"");
    let output = wasmpool().arg("inspect").arg(wrong.path("reach.wasm")).run().exits(0);
    assert!(output.text().contains("`check`, which the task does not have"), "{}", output.text());
    let modest = Plugin::new("");
    let output = wasmpool().arg("inspect").arg(modest.folder.path()).run().exits(0);
    assert!(output.text().contains("It computes only"), "{}", output.text());
}

#[test]
fn several_tasks_of_one_run_have_no_manifests_of_their_own() {
    let plugin = Plugin::new("[grants]\ndir = [\"/in\"]");
    let task = format!("a={}", plugin.path("reach.wasm").display());
    let output = wasmpool().args(["map", "--task", &task, "--scratch=/tmp"]).input("\"env\"\n").run().exits(2);
    assert!(output.stderr.contains("task a") && output.stderr.contains("manifest"), "{}", output.stderr);
}

#[test]
fn where_a_plugin_and_its_own_directories_are_in_truth_is_told_if_links_lead_there() {
    use std::os::unix::fs::symlink;
    let elsewhere = TempDir::new().expect("a temporary directory");
    let secret = elsewhere.path().canonicalize().expect("it is there");
    let plugin = Plugin::new("[grants]\ndir = ['/in']\n");
    let map = |task: &Path, args: &[&str]| of(task, args, &["env"]).run().exits(0).stderr;
    // A directory of the plugin's own that its author has replaced by a link, and one further down.
    symlink(&secret, plugin.path("data")).expect("a link");
    std::fs::create_dir(secret.join("below")).expect("made");
    for (name, real) in [("data", secret.clone()), ("data/below", secret.join("below"))] {
        let dir = format!("--dir={}::/in", plugin.path(name).display());
        let said = map(&plugin.path(""), &[&dir]);
        assert!(said.contains(&format!("the task is given {}\n", real.display())), "{said}");
    }
    assert_eq!(map(&plugin.path(""), &[&plugin.dir("/in")]), "");
    // A link to the plugin itself.
    let link = elsewhere.path().join("link");
    symlink(plugin.path(""), &link).expect("a link");
    let real = plugin.path("reach.wasm").canonicalize().expect("it is there");
    for task in [link.clone(), link.join("plugin.toml"), link.join("reach.wasm")] {
        let said = map(&task, &[&plugin.dir("/in")]);
        assert!(said.contains(&format!("its task is {}\n", real.display())), "{said}");
    }
    // A link to its wasm.
    std::fs::rename(plugin.path("reach.wasm"), secret.join("other.wasm")).expect("moved");
    symlink(secret.join("other.wasm"), plugin.path("reach.wasm")).expect("a link");
    let said = map(&plugin.path(""), &[&plugin.dir("/in")]);
    assert!(said.contains(&format!("its task is {}\n", secret.join("other.wasm").display())), "{said}");
}

#[test]
fn a_plugin_whose_task_is_what_somebody_has_open_is_refused() {
    use std::os::unix::fs::symlink;
    let plugin = Plugin::new("");
    plugin.write("plugin.toml", "wasm = 'task.wat'\n");
    let mine = wat(SQUARE);
    for target in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "inner"] {
        let _ = std::fs::remove_file(plugin.path("task.wat"));
        symlink(target, plugin.path("task.wat")).expect("a link");
        if target == "inner" {
            symlink("/proc/thread-self/fd/0", plugin.path("inner")).expect("a link");
        }
        for command in ["map", "call", "inspect", "compile"] {
            for named in [plugin.path(""), plugin.path("plugin.toml")] {
                let stdin = std::fs::File::open(mine.path()).expect("it is there");
                let run = wasmpool().arg(command).arg(named);
                let run = if command == "call" { run.args(["square", "3"]) } else { run };
                let output = run.stdin_from(stdin).run().exits(2);
                assert!(output.stderr.contains("`wasm` has to be a file"), "{target}: {}", output.stderr);
                assert_eq!(output.text(), "");
            }
        }
    }
}

#[test]
fn inspect_and_compile_tell_where_a_plugins_task_is_in_truth() {
    use std::os::unix::fs::symlink;
    let (plugin, elsewhere) = (Plugin::new(""), TempDir::new().expect("a temporary directory"));
    plugin.write("plugin.toml", "wasm = 'task.wat'\n");
    let real = elsewhere.path().join("real.wat");
    std::fs::write(&real, SQUARE).expect("written");
    symlink(&real, plugin.path("task.wat")).expect("a link");
    let real = real.canonicalize().expect("it is there");
    for command in ["inspect", "compile"] {
        for named in ["", "plugin.toml", "task.wat"] {
            let run = || wasmpool().arg(command).arg(plugin.path(named));
            let told = format!("goes by a link: its task is {}", real.display());
            let output = run().run().exits(0);
            assert_eq!(output.stderr.matches(&told).count(), 1, "{command} {named}: {}", output.stderr);
            assert!(!run().arg("-q").run().exits(0).stderr.contains("goes by a link"), "{command}");
        }
    }
}
