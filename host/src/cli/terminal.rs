//! What the terminal can show: its width, whether a line can be replaced, and colours.

use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicU8, Ordering};

use super::args::UseColour;
use wasmpool_run::stdio::writes_json;

/// The width where the terminal does not say it.
const USUAL_WIDTH: usize = 80;

/// The choice of `--color`.
static CHOICE: AtomicU8 = AtomicU8::new(UseColour::Auto as u8);

/// Sets whether colours are used from now on.
pub fn choose_colours(choice: UseColour) {
    CHOICE.store(choice as u8, Ordering::Relaxed);
}

/// Returns true if colours are sent to a stream: of those that `--color auto` decides on, to terminals that know them, unless
/// `NO_COLOR` is set.
pub fn takes_colours(is_terminal: bool) -> bool {
    match CHOICE.load(Ordering::Relaxed) {
        choice if choice == UseColour::Always as u8 => true,
        choice if choice == UseColour::Never as u8 => false,
        _ => is_terminal && !is_dumb() && !is_set("NO_COLOR"),
    }
}

/// Returns true if messages have colours: those for programs never do.
pub fn messages_take_colours() -> bool {
    !writes_json() && takes_colours(stderr().is_terminal())
}

/// Returns true if standard error is a terminal on which a line can be replaced by another.
pub fn can_replace_lines() -> bool {
    stderr().is_terminal() && !is_dumb()
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb")
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Returns the number of columns that the terminal of standard error has now.
pub fn width() -> usize {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call writes to `size`, which outlives it.
    let known = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) } == 0;
    match usize::from(size.ws_col) {
        columns @ 1.. if known => columns,
        _ => {
            let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
            columns.filter(|&columns| columns > 0).unwrap_or(USUAL_WIDTH)
        }
    }
}
