//! Turns the table of system calls into filters, and installs them in the kernel.

mod program;

use std::collections::BTreeMap;
use std::io;

use libc::{c_long, c_uint, c_ushort};

use super::steps::ProcessStage;
use program::{Answer, Answers, ProgramError, program};

/// The reason why a filter is not in force.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("the kernel refuses the filter")]
    Refused(#[source] io::Error),
    /// A thread has filters that this one does not have.
    #[error("the filter cannot be put before thread {0}")]
    Thread(c_long),
}

/// Installs a step's filter in addition to the existing ones, in all threads. The calls in `free` are not filtered;
/// only tests name any.
pub fn enter(step: ProcessStage, free: &[c_long]) -> Result<(), FilterError> {
    let own = std::process::id().cast_signed();
    install(&program(&answers(step, free), own)?)
}

/// Returns what the step's lines say, by number: what they allow, and which calls fail. Everything else ends the
/// process.
fn answers(step: ProcessStage, free: &[c_long]) -> BTreeMap<u32, Answers> {
    let any = || Answers { rules: Vec::new(), matching: Answer::Allow, otherwise: Answer::Allow };
    let mut all = BTreeMap::new();
    let mut unbound = Vec::new();
    for call in step.calls() {
        let none = || Answers { rules: Vec::new(), matching: Answer::Allow, otherwise: Answer::End };
        all.entry(number(call.number)).or_insert_with(none).rules.extend(call.only);
        if call.only.is_empty() {
            unbound.push(call.number);
        }
    }
    all.extend(unbound.into_iter().map(|call| (number(call), any())));
    all.extend(step.soft().into_iter().map(|soft| {
        let fails = Answer::Fail(soft.errno);
        let answers = match soft.only {
            [] => Answers { rules: Vec::new(), matching: fails, otherwise: fails },
            rule => Answers { rules: vec![rule], matching: fails, otherwise: Answer::Allow },
        };
        (number(soft.number), answers)
    }));
    all.extend(free.iter().map(|&call| (number(call), any())));
    all
}

/// Returns a system call's number as the kernel shows it to filters.
fn number(call: c_long) -> u32 {
    // No number has more than 32 bits: the kernel would not show the rest.
    call as u32
}

fn install(program: &[libc::sock_filter]) -> Result<(), FilterError> {
    // The kernel writes nothing there.
    let filter = program.as_ptr().cast_mut();
    let length = c_ushort::try_from(program.len()).map_err(|_| ProgramError::TooLong)?;
    let program = libc::sock_fprog { len: length, filter };
    let (install, all_threads): (c_uint, _) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_TSYNC);
    // A process that keeps the right to gain privileges may not install a filter.
    // SAFETY: the first call only changes this process; the second reads the program, which lives long enough.
    let installed = unsafe {
        match libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) {
            0 => libc::syscall(libc::SYS_seccomp, install, all_threads, &raw const program),
            _ => -1,
        }
    };
    match installed {
        0 => Ok(()),
        thread if thread > 0 => Err(FilterError::Thread(thread)),
        _ => Err(FilterError::Refused(io::Error::last_os_error())),
    }
}
