//! Finds the reason that a guest gave on standard error before it ended: its panic, its exception, its failed
//! assertion.
//!
//! Each language has a form of its own. Output in none of these forms ends with the line that gives the reason,
//! possibly followed by frames of a stack.

use wasmpool_core::text::cut;

/// Maximum number of characters of the reason in a message.
const MOST: usize = 1000;

/// Finds the reason in standard error; `None` if nothing was written there.
pub fn reason(said: &str) -> Option<String> {
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    // An interpreter reports an exception first, and then its own end.
    let found = python(&lines)
        .or_else(|| rust(&lines))
        .or_else(|| go(&lines))
        .or_else(|| spidermonkey(&lines))
        .or_else(|| last(&lines))?;
    let found = found.trim();
    (!found.is_empty()).then(|| cut(found, MOST))
}

/// Finds what follows the frames of a Python traceback: `ValueError: bad weight`.
fn python(lines: &[&str]) -> Option<String> {
    const HEAD: &str = "Traceback (most recent call last):";
    let head = lines.iter().rposition(|line| *line == HEAD)?;
    let behind = lines.get(head + 1..)?;
    let end = behind.iter().position(|line| is_rust_panic(line)).unwrap_or(behind.len());
    let behind = behind.get(..end)?;
    let said = behind.iter().position(|line| !line.is_empty() && !line.starts_with(char::is_whitespace))?;
    Some(behind.get(said..)?.join("\n"))
}

fn is_rust_panic(line: &str) -> bool {
    line.starts_with("thread '") && line.contains(" panicked at ")
}

/// Finds the message and the place of a Rust panic: `bad weight, at src/lib.rs:7:5`.
fn rust(lines: &[&str]) -> Option<String> {
    let head = lines.iter().rposition(|line| is_rust_panic(line))?;
    let (_, place) = lines.get(head)?.split_once(" panicked at ")?;
    let Some(place) = place.strip_suffix(':') else {
        // Before Rust 1.73: 'bad weight', src/lib.rs:7:5
        let (message, place) = place.rsplit_once(", ")?;
        return Some(format!("{}, at {place}", message.trim_matches('\'')));
    };
    let is_behind = |line: &&str| line.starts_with("note: ") || line.starts_with("stack backtrace:");
    let message: Vec<&str> = lines.get(head + 1..)?.iter().copied().take_while(|line| !is_behind(line)).collect();
    let message = message.join("\n");
    let message = message.trim();
    // If a traceback was too long to be kept completely, its end is there.
    if message == "Python function threw an unexpected exception" {
        return last(lines.get(..head)?).or_else(|| Some(message.to_owned()));
    }
    Some(match quickjs(message) {
        Some(exception) => exception,
        None if message.is_empty() => format!("it panicked at {place}"),
        None => format!("{message}, at {place}"),
    })
}

/// Finds the message and the place of an exception with which a runtime of QuickJS panics.
fn quickjs(panic: &str) -> Option<String> {
    let (_, exception) = panic.split_once("Exception { message: Some(")?;
    let message = literal(exception)?;
    let frame = exception.split_once("stack: Some(").and_then(|(_, stack)| literal(stack));
    let frame = frame.as_deref().and_then(|stack| stack.lines().next()).unwrap_or_default().trim();
    Some(if frame.is_empty() { message } else { format!("{message}, {frame}") })
}

/// Returns the string in quotes that a text begins with.
fn literal(text: &str) -> Option<String> {
    serde_json::Deserializer::from_str(text).into_iter().next()?.ok()
}

/// Line that Zig prints in place of a stack; its panics look like those of Go.
const NO_TRACE: &str = "Cannot print stack trace";

/// Finds everything before the stacks of the goroutines in a panic or fatal error of Go.
fn go(lines: &[&str]) -> Option<String> {
    let is_head = |line: &&str| line.starts_with("panic: ") || line.starts_with("fatal error: ");
    let head = lines.iter().position(is_head)?;
    let is_behind = |line: &&str| {
        line.is_empty() || ["[signal ", "[tinygo: ", "goroutine ", NO_TRACE].iter().any(|start| line.starts_with(start))
    };
    let said: Vec<&str> = lines.get(head..)?.iter().copied().take_while(|line| !is_behind(line)).collect();
    // Go indents further lines of an error.
    Some(said.join("\n").replace("\n\t", "\n"))
}

/// Finds the message and the place of an exception that a runtime of SpiderMonkey reports: `bad weight, at
/// quote@source.js:4:9`.
fn spidermonkey(lines: &[&str]) -> Option<String> {
    let head = lines.iter().rposition(|line| *line == "Stack:")?;
    let (message, frame) = (lines.get(head.checked_sub(1)?)?, lines.get(head + 1)?.trim());
    frame.contains('@').then(|| format!("{message}, at {frame}"))
}

/// Returns the last line that is not a frame of a stack.
fn last(lines: &[&str]) -> Option<String> {
    let is_frame = |line: &&str| {
        line.starts_with(char::is_whitespace)
            || ["at ", "note: ", "#", "[tinygo: ", "Stack:", "Stack trace:", "stack backtrace:", NO_TRACE]
                .iter()
                .any(|start| line.starts_with(start))
    };
    let said = lines.iter().rfind(|line| !line.is_empty() && !is_frame(line));
    said.or_else(|| lines.iter().rfind(|line| !line.is_empty())).map(|line| (*line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_told(said: &str, wanted: &str) {
        assert_eq!(reason(said).as_deref(), Some(wanted));
    }

    #[test]
    fn a_rust_panic_is_its_message_and_place() {
        let note = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";
        is_told(
            &format!("\nthread '<unnamed>' (1) panicked at src/lib.rs:7:5:\nbad weight\n{note}\n"),
            "bad weight, at src/lib.rs:7:5",
        );
        is_told(
            &format!(
                "careful\nthread 'main' panicked at src/main.rs:1:2:\nassertion `left == right` failed\n  left: 1\n right: 2\n{note}\n"
            ),
            "assertion `left == right` failed\n  left: 1\n right: 2, at src/main.rs:1:2",
        );
        is_told("thread 'main' panicked at 'a, b', src/main.rs:1:2\n", "a, b, at src/main.rs:1:2");
        is_told("thread 'main' panicked at src/main.rs:1:2:\n", "it panicked at src/main.rs:1:2");
    }

    #[test]
    fn a_python_exception_is_the_last_of_its_traceback() {
        let trace = "Traceback (most recent call last):\n  File \"/0/dep.py\", line 4, in quote\n";
        is_told(&format!("{trace}ValueError: bad weight\n"), "ValueError: bad weight");
        // The interpreter's own end is not the reason.
        is_told(
            &format!(
                "{trace}ValueError: bad weight\n\nthread '<unnamed>' (1) panicked at runtime/src/lib.rs:1293:29:\n\
                 Python function threw an unexpected exception\n"
            ),
            "ValueError: bad weight",
        );
        is_told(
            &format!(
                "{trace}KeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\n{trace}OSError: two\nlines\n"
            ),
            "OSError: two\nlines",
        );
    }

    #[test]
    fn of_a_traceback_without_its_beginning_the_exception_is_the_last_line() {
        is_told(
            "  File \"/0/dep.py\", line 4, in quote\nValueError: deep\n\nthread '<unnamed>' (1) panicked at \
             runtime/src/lib.rs:1293:29:\nPython function threw an unexpected exception\n",
            "ValueError: deep",
        );
    }

    #[test]
    fn a_javascript_exception_is_its_message_and_place() {
        is_told(
            "\nthread '<unnamed>' (1) panicked at crates/runtime/src/interpreter.rs:51:31:\nFailed to call 'half': \
             Exception(Exception { message: Some(\"odd \\\"number\\\"\"), stack: Some(\"    at half (/f.js:4:36)\\n\") })\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
            "odd \"number\", at half (/f.js:4:36)",
        );
        is_told("TypeError: x is null\n    at half (f.js:1:2)\n    at main (f.js:3:4)\n", "TypeError: x is null");
    }

    #[test]
    fn an_exception_of_spidermonkey_is_its_message_and_place() {
        is_told(
            "careful\nodd number: x\nStack:\n  half@source.js:4:9\n  export_half@/sources/initializer.js:63:15\n\n\
             Redirecting call to abort() to mozalloc_abort\n\n",
            "odd number: x, at half@source.js:4:9",
        );
    }

    #[test]
    fn a_go_panic_is_all_before_the_goroutines() {
        let stack = "\ngoroutine 1 [running]:\nmain.main()\n\t/go/main.go:5 +0x16\n";
        is_told(&format!("panic: boom\n{stack}"), "panic: boom");
        is_told(&format!("panic: bad\n\tthing\n{stack}"), "panic: bad\nthing");
        is_told(
            &format!("panic: runtime error: index out of range [3]\n[signal 0xb code=0x0]\n{stack}"),
            "panic: runtime error: index out of range [3]",
        );
        is_told(
            &format!("fatal error: all goroutines are asleep - deadlock!\n{stack}"),
            "fatal error: all goroutines are asleep - deadlock!",
        );
        is_told("panic: runtime error: nil map\n[tinygo: panic at /main.go:5:10]\n", "panic: runtime error: nil map");
    }

    #[test]
    fn a_zig_panic_is_its_message() {
        let none = "Cannot print stack trace: debug info unavailable for target\n";
        is_told(&format!("panic: integer overflow\n{none}"), "panic: integer overflow");
        is_told(&format!("thread 1 panic: integer overflow\n{none}"), "thread 1 panic: integer overflow");
    }

    #[test]
    fn any_other_reason_is_the_last_line_that_is_no_frame() {
        is_told(
            "a: warning\nAssertion failed: c == 'x' (f.c: main: 4)\n\n",
            "Assertion failed: c == 'x' (f.c: main: 4)",
        );
        is_told(
            "PHP Fatal error:  Uncaught Exception: x in a.php:1\nStack trace:\n#0 {main}\n  thrown in a.php on line 1\n",
            "PHP Fatal error:  Uncaught Exception: x in a.php:1",
        );
        is_told(
            "Unhandled exception. System.Exception: x\n   at Program.Main()\n",
            "Unhandled exception. System.Exception: x",
        );
        is_told("a.rb:1:in 'f': odd (RuntimeError)\n\tfrom a.rb:2:in '<main>'\n", "a.rb:1:in 'f': odd (RuntimeError)");
        is_told("   only this\n", "only this");
    }

    #[test]
    fn nothing_said_is_no_reason_and_much_is_cut() {
        assert_eq!(reason(""), None);
        assert_eq!(reason(" \n\n"), None);
        assert_eq!(reason(&"é".repeat(5000)).map(|text| text.chars().count()), Some(MOST + 1));
    }
}
