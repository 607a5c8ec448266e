//! Turns the table of system calls into filters, and installs them in the kernel.

use std::collections::BTreeMap;

use libc::{c_int, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

use super::arguments::{Is, Rule};
use super::steps::ProcessStage;
use super::syscalls::SoftRefusal;

type Error = Box<dyn std::error::Error>;

/// Installs a step's filter in addition to the existing ones, in all threads. The calls in `free` are not filtered;
/// only tests name any.
pub fn enter(step: ProcessStage, free: &[c_long]) -> Result<(), Error> {
    let soft: Vec<SoftRefusal> = step.soft().into_iter().filter(|soft| !free.contains(&soft.number)).collect();
    for soft in &soft {
        apply_filter_all_threads(&failing(soft)?)?;
    }
    let unfiltered: Vec<c_long> = free.iter().copied().chain(soft.iter().map(|soft| soft.number)).collect();
    apply_filter_all_threads(&hard(step, &unfiltered)?)?;
    Ok(())
}

fn arch() -> Result<TargetArch, Error> {
    Ok(TargetArch::try_from(std::env::consts::ARCH)?)
}

/// Returns a filter that allows what the step's lines allow, and ends the process for everything else. A soft call has
/// a filter of its own; the strictest answer counts, so this filter lets the call pass.
fn hard(step: ProcessStage, unfiltered: &[c_long]) -> Result<BpfProgram, Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut any = unfiltered.to_vec();
    for call in step.calls() {
        let lines = rules.entry(call.number).or_default();
        for rule in call.only {
            lines.extend(each(rule)?);
        }
        if call.only.is_empty() {
            any.push(call.number);
        }
    }
    // An empty list of rules allows any arguments.
    rules.extend(any.into_iter().map(|number| (number, Vec::new())));
    Ok(SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch()?)?.try_into()?)
}

/// Returns a filter for one call that fails softly. Each such call needs its own, because a filter has only one such
/// answer.
fn failing(soft: &SoftRefusal) -> Result<BpfProgram, Error> {
    let rules = if soft.only.is_empty() { Vec::new() } else { each(soft.only)? };
    let answer = SeccompAction::Errno(soft.errno.unsigned_abs());
    let rules = BTreeMap::from([(soft.number, rules)]);
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, answer, arch()?)?.try_into()?)
}

/// Returns a rule of the table as rules of the filter, in which an argument has one value: all combinations.
fn each(rule: Rule) -> Result<Vec<SeccompRule>, Error> {
    let mut all: Vec<Vec<SeccompCondition>> = vec![Vec::new()];
    for &(argument, is) in rule {
        let mut more = Vec::new();
        for way in ways(argument, is)? {
            more.extend(all.iter().map(|conditions| [conditions.clone(), way.clone()].concat()));
        }
        all = more;
    }
    all.into_iter().map(|conditions| Ok(SeccompRule::new(conditions)?)).collect()
}

/// Returns the alternatives that satisfy a condition on an argument; all conditions of an alternative must hold.
fn ways(argument: u8, is: Is) -> Result<Vec<Vec<SeccompCondition>>, Error> {
    let own = std::process::id().cast_signed();
    let compare = |op, value: c_int| -> Result<SeccompCondition, Error> {
        let value = u64::from(value.cast_unsigned());
        Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)?)
    };
    Ok(match is {
        Is::In(values) => {
            values.iter().map(|&value| Ok(vec![compare(SeccompCmpOp::Eq, value)?])).collect::<Result<_, Error>>()?
        }
        Is::With { bits, value } => {
            vec![vec![compare(SeccompCmpOp::MaskedEq(u64::from((!bits).cast_unsigned())), value)?]]
        }
        Is::Null => vec![vec![SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?]],
        Is::OwnProcess => vec![vec![compare(SeccompCmpOp::Eq, own)?]],
        Is::OtherProcess => vec![vec![compare(SeccompCmpOp::Ne, own)?, compare(SeccompCmpOp::Ne, 0)?]],
    })
}
