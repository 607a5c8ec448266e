//! A terminal, for programs that check whether they have one, and what a person sees on it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

/// Opens a terminal: the side that a person sees, and the side that a program has.
pub fn terminal() -> (File, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: both numbers outlive the call, and the other arguments may be null.
    let done = unsafe {
        libc::openpty(&raw mut master, &raw mut slave, std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut())
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    for descriptor in [master, slave] {
        // SAFETY: the call changes a flag of a descriptor that is ours. Other tests start children, which must not
        // inherit it.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    // SAFETY: both are open, and owned by nobody else.
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}

/// Sets the number of columns of a terminal.
pub fn set_width(terminal: &impl AsRawFd, columns: u16) {
    let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call reads `size`, which outlives it.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Collects what appears on the terminal from now on.
pub fn watch(mut master: File) -> Arc<Mutex<String>> {
    let seen = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut bytes = Vec::new();
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
            // A character may have come in part.
            let whole = match std::str::from_utf8(&bytes) {
                Ok(_) => bytes.len(),
                Err(e) => e.valid_up_to(),
            };
            let text: Vec<u8> = bytes.drain(..whole).collect();
            shared.lock().expect("no panic").push_str(std::str::from_utf8(&text).expect("checked"));
        }
    });
    seen
}

/// Removes the codes of colours.
pub fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| match part.split_once('m') {
        Some((code, rest)) if code.bytes().all(|byte| byte.is_ascii_digit() || byte == b';') => whole + rest,
        _ => whole + "\x1b[" + part,
    })
}

/// Returns the lines that stand on a terminal, wide enough for all of them, after this was written to it.
pub fn screen(written: &str) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let mut column = 0;
    for (nth, part) in without_colours(written).split("\x1b[J").enumerate() {
        if nth > 0 {
            lines.last_mut().expect("a line").truncate(column);
        }
        for c in part.chars() {
            let line = lines.last_mut().expect("a line");
            match c {
                '\r' => column = 0,
                '\n' => {
                    lines.push(Vec::new());
                    column = 0;
                }
                c => {
                    match line.get_mut(column) {
                        Some(there) => *there = c,
                        None => line.push(c),
                    }
                    column += 1;
                }
            }
        }
    }
    lines.into_iter().map(|line| line.into_iter().collect()).collect()
}
