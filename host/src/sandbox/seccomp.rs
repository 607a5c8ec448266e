//! From the table of system calls to filters, and the filters to the kernel.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

use super::syscalls::{Only, Step};

type Error = Box<dyn std::error::Error>;

/// Puts a step's filter on top of those that hold already, in all threads.
pub fn enter(step: Step) -> Result<(), Error> {
    for program in soft(step)? {
        apply_filter_all_threads(&program)?;
    }
    apply_filter_all_threads(&hard(step)?)?;
    Ok(())
}

fn arch() -> Result<TargetArch, Error> {
    Ok(TargetArch::try_from(std::env::consts::ARCH)?)
}

/// Allows what the step's lines allow; everything else ends the process.
fn hard(step: Step) -> Result<BpfProgram, Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut any = Vec::new();
    for call in step.calls() {
        let lines = rules.entry(call.number).or_default();
        match of(call.only)? {
            Some(more) => lines.extend(more),
            None => any.push(call.number),
        }
    }
    // A soft call is answered by its own filter; the strictest answer counts, so this one must not end the process.
    any.extend(step.soft().iter().map(|soft| soft.number));
    // An empty list of rules stands for: whatever the arguments.
    rules.extend(any.into_iter().map(|number| (number, Vec::new())));
    Ok(SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch()?)?.try_into()?)
}

/// One filter for each call that fails softly: a filter has one answer.
fn soft(step: Step) -> Result<Vec<BpfProgram>, Error> {
    let program = |number, errno: i32| -> Result<BpfProgram, Error> {
        let rules = BTreeMap::from([(number, Vec::new())]);
        let answer = SeccompAction::Errno(errno.unsigned_abs());
        Ok(SeccompFilter::new(rules, SeccompAction::Allow, answer, arch()?)?.try_into()?)
    };
    step.soft().into_iter().map(|soft| program(soft.number, soft.errno)).collect()
}

/// The rules for arguments; `None` if all are fine.
fn of(only: Only) -> Result<Option<Vec<SeccompRule>>, Error> {
    let one = |argument, op, value| -> Result<SeccompRule, Error> {
        // Flags and numbers are 32 bits wide in the kernel, whatever stands in the rest of the register.
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)?;
        Ok(SeccompRule::new(vec![condition])?)
    };
    Ok(Some(match only {
        Only::Any => return Ok(None),
        Only::Masked { argument, mask, value } => vec![one(argument, SeccompCmpOp::MaskedEq(mask), value)?],
        Only::OneOf { argument, values } => {
            values.iter().map(|&value| one(argument, SeccompCmpOp::Eq, value)).collect::<Result<_, _>>()?
        }
        Only::Tcp => {
            let condition = |argument, op, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value);
            let kinds = [libc::AF_INET, libc::AF_INET6].into_iter().flat_map(|f| [(f, 0), (f, libc::IPPROTO_TCP)]);
            kinds
                .map(|(family, protocol)| -> Result<SeccompRule, Error> {
                    Ok(SeccompRule::new(vec![
                        condition(0, SeccompCmpOp::Eq, family as u64)?,
                        // Without the flags that come with it.
                        condition(1, SeccompCmpOp::MaskedEq(0xf), libc::SOCK_STREAM as u64)?,
                        condition(2, SeccompCmpOp::Eq, protocol as u64)?,
                    ])?)
                })
                .collect::<Result<_, _>>()?
        }
        Only::OwnProcess => vec![one(0, SeccompCmpOp::Eq, u64::from(std::process::id()))?],
    }))
}
