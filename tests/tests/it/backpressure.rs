//! Input is read when it is needed: not before, and not later than it could be.

use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::support::guest::wat;
use crate::support::run::map;
use crate::support::wat::{SQUARE, echo_string};

/// More bytes than any limit on bytes in flight, and fewer than a run would take without one.
const TOO_MUCH: usize = 256 << 20;

#[test]
fn the_first_results_come_before_the_input_ends() {
    let task = wat(SQUARE);
    for args in [&["-j", "1"][..], &["-j", "4"], &["--unordered"]] {
        let mut host = map(&task).args(args).start();
        let mut input = host.stdin.take().expect("a pipe");
        input.write_all(b"1\n2\n3\n").expect("the host reads");
        let mut lines = [host.line(), host.line(), host.line()].map(|line| line.expect("a result"));
        lines.sort();
        assert_eq!(lines, ["1", "4", "9"], "with {args:?}");
        drop(input);
        assert_eq!(host.line(), None);
        assert_eq!(host.code(), 0);
    }
}

#[test]
fn a_conversation_item_by_item_works() {
    let task = wat(SQUARE);
    let mut host = map(&task).start();
    let mut input = host.stdin.take().expect("a pipe");
    for item in 0..200_u64 {
        writeln!(input, "{item}").expect("the host reads");
        assert_eq!(host.line(), Some((item * item).to_string()));
    }
    drop(input);
    assert_eq!(host.code(), 0);
}

#[test]
fn half_a_line_is_not_an_item() {
    let task = wat(SQUARE);
    let mut host = map(&task).start();
    let mut input = host.stdin.take().expect("a pipe");
    input.write_all(b"3\n1").expect("the host reads");
    assert_eq!(host.line().as_deref(), Some("9"));
    input.write_all(b"2\n").expect("the host reads");
    assert_eq!(host.line().as_deref(), Some("144"));
    drop(input);
    assert_eq!(host.code(), 0);
}

#[test]
fn a_fifo_is_read_as_it_is_written() {
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let path = folder.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let task = wat(SQUARE);
    let mut host = map(&task).arg(&path).start();
    // Opening it for reading and writing does not wait for the host to open it too.
    let mut input = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("the fifo opens");
    writeln!(input, "5").expect("the host reads");
    assert_eq!(host.line().as_deref(), Some("25"));
    drop(input);
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 0);
}

#[test]
fn a_slow_reader_of_the_output_slows_the_input() {
    let line = [b"\"", vec![b'x'; 1000].as_slice(), b"\"\n"].concat();
    let task = wat(echo_string());
    for args in [&["-j", "2"][..], &["-j", "2", "--unordered"]] {
        let mut host = map(&task).args(args).start();
        let mut input = host.stdin.take().expect("a pipe");
        let taken = write_until_refused(&mut input, &line);
        assert!(taken < TOO_MUCH, "took {taken} bytes with nobody reading its output ({args:?})");

        // Once the reader reads, everything comes out.
        let whole = taken / line.len();
        if !taken.is_multiple_of(line.len()) {
            let rest = line[taken % line.len()..].to_vec();
            std::thread::spawn(move || input.write_all(&rest));
        } else {
            drop(input);
        }
        let mut lines = 0;
        while let Some(line) = host.line() {
            assert_eq!(line.len(), 1002);
            lines += 1;
        }
        assert_eq!(lines, whole + usize::from(!taken.is_multiple_of(line.len())));
        assert_eq!(host.code(), 0);
    }
}

#[test]
fn an_item_that_takes_long_does_not_let_results_pile_up_behind_it() {
    // In an ordered run nothing can be printed before the first item ends, and it never does: the rest must wait.
    let task = wat(crate::support::wat::SPIN_IF_NEGATIVE);
    let mut host = map(&task).args(["-j", "2", "-c", "1", "--timeout", "10m"]).start();
    let mut input = host.stdin.take().expect("a pipe");
    input.write_all(b"-1\n").expect("the host reads");
    let taken = write_until_refused(&mut input, b"2\n");
    assert!(taken < TOO_MUCH, "took {taken} bytes behind an endless item");
}

/// Writes the line again and again until the pipe stays full; returns how many bytes it took.
fn write_until_refused(pipe: &mut std::process::ChildStdin, line: &[u8]) -> usize {
    fcntl(&*pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("our end of the pipe");
    let block = line.repeat(64 * 1024 / line.len());
    let mut taken = 0;
    while taken < TOO_MUCH {
        match pipe.write(&block[taken % line.len()..]) {
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if !has_room_again(pipe) {
                    break;
                }
            }
            Err(error) => panic!("the host went away: {error}"),
        }
    }
    fcntl(&*pipe, FcntlArg::F_SETFL(OFlag::empty())).expect("our end of the pipe");
    taken
}

/// Returns true if the pipe takes more before long. Waiting too short a time is no failure: it only ends the test
/// early.
fn has_room_again(pipe: &std::process::ChildStdin) -> bool {
    let mut wanted = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: the structure lives through the call.
    unsafe { libc::poll(&raw mut wanted, 1, 2000) > 0 }
}
