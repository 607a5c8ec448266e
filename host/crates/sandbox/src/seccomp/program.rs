//! Filters as programs: what the kernel runs before each system call of a process, as instructions of classic BPF.
//!
//! When a filter is installed, the kernel runs it once for every number that a system call can have, to find the calls
//! that are allowed whatever their arguments are, and translates it to machine code. A program that looks for a number
//! among all in a row, several instructions for each, costs a starting process several hundred microseconds. So this
//! one halves the numbers that are left with each comparison, and loads an argument once for all values it may have.

use std::collections::BTreeMap;

use libc::{c_int, sock_filter};

use crate::arguments::{Is, Rule};

/// What a filter answers to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Allow,
    /// The call fails with this error and is not made.
    Fail(c_int),
    /// The process is ended.
    End,
}

/// What a filter answers to the calls of one number.
#[derive(Clone, Debug)]
pub struct Answers {
    pub rules: Vec<Rule>,
    /// The answer where the arguments match one of the rules.
    pub matching: Answer,
    pub otherwise: Answer,
}

/// The reason why a filter cannot be turned into a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    #[error("the system calls of this kind of processor are not known")]
    UnknownProcessor,
    #[error("the filter is too long")]
    TooLong,
}

/// The number by which the kernel names the kind of processor that a system call is made for. A processor may run
/// programs for others, whose calls have other numbers.
const PROCESSOR: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// Offsets in what the kernel shows a filter, `struct seccomp_data`.
const NUMBER: u32 = 0;
const MADE_FOR: u32 = 4;
const ARGUMENTS: u32 = 16;
const ARGUMENT: u32 = 8;
/// Offset of the upper half of an argument, on the processors above.
const UPPER: u32 = 4;

/// Maximum number of instructions that the kernel accepts.
const MOST: usize = 4096;

/// Returns a program that gives these answers by number, and ends the process for any other call. `own` is the id of
/// this process.
pub fn program(calls: &BTreeMap<u32, Answers>, own: c_int) -> Result<Vec<sock_filter>, ProgramError> {
    let processor = PROCESSOR.ok_or(ProgramError::UnknownProcessor)?;
    let mut program = vec![load(MADE_FOR), jump(libc::BPF_JEQ, processor, 1, 0), answer(Answer::End), load(NUMBER)];
    program.extend(search(&calls.iter().collect::<Vec<_>>(), own)?);
    if program.len() <= MOST { Ok(program) } else { Err(ProgramError::TooLong) }
}

/// Returns instructions that find the number among these, which are in order.
fn search(calls: &[(&u32, &Answers)], own: c_int) -> Result<Vec<sock_filter>, ProgramError> {
    let (below, from) = calls.split_at(calls.len() / 2);
    match (below, from) {
        ([], [(number, answers)]) => one(**number, answers, own),
        (_, [(first, _), ..]) => {
            let (lower, upper) = (search(below, own)?, search(from, own)?);
            let choice = match u8::try_from(lower.len()) {
                Ok(skipped) => vec![jump(libc::BPF_JGE, **first, skipped, 0)],
                // Further than a comparison can jump.
                Err(_) => vec![jump(libc::BPF_JGE, **first, 0, 1), skip(lower.len())?],
            };
            Ok([choice, lower, upper].concat())
        }
        (_, []) => Ok(vec![answer(Answer::End)]),
    }
}

/// Returns instructions for a number that can only be this one or none that is known.
fn one(number: u32, answers: &Answers, own: c_int) -> Result<Vec<sock_filter>, ProgramError> {
    let mut body = Vec::new();
    for rule in &answers.rules {
        body.extend(matches(rule, answers.matching, own)?);
    }
    body.push(answer(answers.otherwise));
    if answers.otherwise != Answer::End {
        body.push(answer(Answer::End));
    }
    body.insert(0, jump(libc::BPF_JEQ, number, 0, near(body.len() - 1)?));
    Ok(body)
}

/// Returns instructions that give an answer where all conditions of a rule hold, and go on behind themselves otherwise.
fn matches(rule: Rule, then: Answer, own: c_int) -> Result<Vec<sock_filter>, ProgramError> {
    // Written from its end, since each condition that does not hold leads there.
    let mut written = vec![answer(then)];
    for &(argument, is) in rule.iter().rev() {
        let end = near(written.len())?;
        let lower = ARGUMENTS + ARGUMENT * u32::from(argument);
        let compare = |value: c_int, equal, other| jump(libc::BPF_JEQ, value.cast_unsigned(), equal, other);
        let mut condition = vec![load(lower)];
        match is {
            Is::In(values) => {
                let (last, others) = values.split_last().ok_or(ProgramError::TooLong)?;
                for (left, &value) in (1..=others.len()).rev().zip(others) {
                    condition.push(compare(value, near(left)?, 0));
                }
                condition.push(compare(*last, 0, end));
            }
            Is::With { bits, value } => {
                condition.push(statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, (!bits).cast_unsigned()));
                condition.push(compare(value & !bits, 0, end));
            }
            Is::Null => {
                condition.extend([compare(0, 0, near(written.len() + 2)?), load(lower + UPPER), compare(0, 0, end)]);
            }
            Is::OwnProcess => condition.push(compare(own, 0, end)),
            Is::OtherProcess => condition.extend([compare(own, near(written.len() + 1)?, 0), compare(0, end, 0)]),
        }
        written.splice(0..0, condition);
    }
    Ok(written)
}

fn near(instructions: usize) -> Result<u8, ProgramError> {
    u8::try_from(instructions).map_err(|_| ProgramError::TooLong)
}

fn skip(instructions: usize) -> Result<sock_filter, ProgramError> {
    let far = u32::try_from(instructions).map_err(|_| ProgramError::TooLong)?;
    Ok(statement(libc::BPF_JMP | libc::BPF_JA, far))
}

fn load(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn answer(answer: Answer) -> sock_filter {
    let code = match answer {
        Answer::Allow => libc::SECCOMP_RET_ALLOW,
        Answer::Fail(errno) => libc::SECCOMP_RET_ERRNO | (errno.cast_unsigned() & libc::SECCOMP_RET_DATA),
        Answer::End => libc::SECCOMP_RET_KILL_PROCESS,
    };
    statement(libc::BPF_RET | libc::BPF_K, code)
}

/// Returns a comparison with `k`, and how many instructions are skipped where it holds and where not.
fn jump(comparison: u32, k: u32, holds: u8, fails: u8) -> sock_filter {
    sock_filter { jt: holds, jf: fails, ..statement(libc::BPF_JMP | comparison | libc::BPF_K, k) }
}

fn statement(code: u32, k: u32) -> sock_filter {
    // Codes have 16 bits, though the constants have more.
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests;
