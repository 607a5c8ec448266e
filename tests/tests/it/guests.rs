//! The guests that `guest/` builds, run through the pool.

use serde_json::json;

use crate::support::guest::built;
use crate::support::run::map;
use crate::support::workspace;

#[test]
fn markdown_becomes_html() {
    let output = map(&built("markdown"))
        .args(["--input-format", "nul", "--output-format", "raw", "--delimiter", "nul"])
        .input("# Hi *there*\0a\n\nb")
        .run()
        .exits(0);
    assert_eq!(output.text(), "<h1>Hi <em>there</em></h1>\n\0<p>a</p>\n<p>b</p>\n\0");
}

#[test]
fn markdown_files_become_html() {
    let docs = workspace().join("demo/docs");
    let mut paths: Vec<String> = std::fs::read_dir(docs)
        .expect("the demo has documents")
        .map(|entry| entry.expect("an entry").path().display().to_string())
        .collect();
    paths.sort();
    let output = map(&built("markdown"))
        .args(["--input-format", "files", "--output-format", "raw", "--delimiter", "nul"])
        .input(paths.join("\n") + "\n")
        .run()
        .exits(0);
    let pages: Vec<&str> = output.text().split_terminator('\0').collect();
    assert_eq!(pages.len(), paths.len());
    assert!(pages.iter().all(|page| page.contains("<h1>")), "{pages:?}");
}

#[test]
fn strikes_are_scored_row_by_row() {
    let output =
        map(&built("score")).args(["--input-format", "csv"]).arg(workspace().join("demo/strikes.csv")).run().exits(0);
    let scores = output.values();
    assert!(scores.len() >= 3000, "{} rows", scores.len());
    for score in &scores {
        assert!(score["risk"].as_u64() <= Some(100), "{score}");
        let level = score["level"].as_str().expect("a level");
        assert!(["low", "moderate", "high"].contains(&level));
    }
}

#[test]
fn log_lines_are_parsed_and_others_dropped() {
    let line = r#"192.0.2.7 - ada [10/Oct/2025:13:55:36 -0700] "GET /a HTTP/1.1" 200 2326"#;
    let output = map(&built("logfilter"))
        .args(["--input-format", "lines", "--flatten"])
        .input(format!("{line}\nnot of a log\n{line}\n"))
        .run()
        .exits(0);
    let entries = output.values();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["host"], "192.0.2.7");
    assert_eq!(entries[0]["status"], 200);
    assert_eq!(entries[0]["request"]["path"], "/a");
    assert_eq!(entries[0]["identity"], json!(null));
}

#[test]
fn images_shrink_to_the_width_that_init_was_given() {
    // `MzI=` is the bytes of "32": init takes a list<u8>.
    for init in ["\"MzI=\"", "[51,50]"] {
        let output = map(&built("thumbnail"))
            .args(["--init", init, "--input-format", "files"])
            .args(["--output-format", "raw", "--delimiter", "none"])
            .input(format!("{}\n", workspace().join("demo/images/dunes.png").display()))
            .run()
            .exits(0);
        assert_eq!(&output.bytes[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(output.bytes[16..20], 32_u32.to_be_bytes(), "the width");
    }
}

#[test]
fn a_task_of_bytes_is_initialised_with_bytes() {
    // `YQ==` is "a".
    for (isolate, wanted) in [("item", "a:1:x\na:1:y\na:1:z\n"), ("worker", "a:1:x\na:2:y\na:3:z\n")] {
        let output = map(&built("stateful"))
            .args(["--init", "\"YQ==\"", "-j", "1", "--isolate", isolate])
            .args(["--input-format", "lines", "--output-format", "raw"])
            .input("x\ny\nz\n")
            .run()
            .exits(0);
        assert_eq!(output.text(), wanted, "isolated by {isolate}");
    }
}

#[test]
fn an_init_that_refuses_or_traps_says_why_and_nothing_succeeds() {
    // These are "refuse" and "trap".
    for (init, named) in [("\"cmVmdXNl\"", "asked to refuse"), ("\"dHJhcA==\"", "asked to trap")] {
        let output = map(&built("stateful"))
            .args(["--init", init, "--input-format", "lines", "--output-format", "raw"])
            .input("x\ny\n")
            .run();
        assert!(matches!(output.code, 1 | 2), "exit code {}", output.code);
        assert_eq!(output.text(), "");
        assert!(output.stderr.contains(named), "{}", output.stderr);
    }
}

#[test]
fn typed_guests_of_the_toolchain_map() {
    let output = map(&built("square")).input("3\n-4\n").run().exits(0);
    assert_eq!(output.text(), "9\n16\n");
    let output = map(&built("fib")).input("10\n20\n").run().exits(0);
    assert_eq!(output.text(), "55\n6765\n");
    let output = map(&built("square_batch")).args(["--batch", "-c", "2"]).input("3\n-4\n5\n").run().exits(0);
    assert_eq!(output.text(), "9\n16\n25\n");
}

#[test]
fn memory_of_a_guest_with_imports_is_pristine_for_each_item() {
    let output = map(&built("misbehave")).args(["-j", "1"]).input("\"count\"\n".repeat(100)).run().exits(0);
    assert_eq!(output.text(), "\"1\"\n".repeat(100));
}
