use super::super::answers;
use super::*;
use crate::SandboxOpenings;
use crate::steps::{FILES, PEERS, ProcessRole, ProcessStage, WRITES};

/// Id of the process in these tests.
const OWN: c_int = 4711;

/// A system call as a filter sees it.
#[derive(Clone, Copy, Debug)]
struct Call {
    number: u32,
    made_for: u32,
    arguments: [u64; 6],
}

/// Runs a program as the kernel does. Returns its answer, and how many instructions it took to find the number.
fn run(program: &[sock_filter], call: Call) -> (u32, usize) {
    let word = |offset: u32| match offset {
        NUMBER => call.number,
        MADE_FOR => call.made_for,
        offset => {
            let (argument, half) = ((offset - ARGUMENTS) / ARGUMENT, (offset - ARGUMENTS) % ARGUMENT);
            (call.arguments[argument as usize] >> (8 * half)) as u32
        }
    };
    let (mut at, mut loaded, mut searched, mut found) = (0, 0, 0, false);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        found |= u32::from(code) & 7 == libc::BPF_LD && k >= ARGUMENTS;
        searched += usize::from(!found);
        let skipped = |holds: bool| usize::from(if holds { jt } else { jf });
        match u32::from(code) {
            code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => loaded = word(k),
            code if code == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => loaded &= k,
            code if code == libc::BPF_JMP | libc::BPF_JA => at += k as usize,
            code if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => at += skipped(loaded == k),
            code if code == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => at += skipped(loaded >= k),
            code if code == libc::BPF_RET | libc::BPF_K => return (k, searched),
            code => panic!("the kernel would refuse instruction {code:#x}"),
        }
    }
}

/// Returns what the table says about a call, read by itself.
fn expected(calls: &BTreeMap<u32, Answers>, call: Call) -> u32 {
    let holds = |&(argument, is): &(u8, Is)| {
        let all = call.arguments[usize::from(argument)];
        let number = (all as u32).cast_signed();
        match is {
            Is::In(values) => values.contains(&number),
            Is::With { bits, value } => number & !bits == value & !bits,
            Is::Null => all == 0,
            Is::OwnProcess => number == OWN,
            Is::OtherProcess => number != OWN && number != 0,
        }
    };
    let told = match calls.get(&call.number) {
        Some(answers) if answers.rules.iter().any(|rule| rule.iter().all(holds)) => answers.matching,
        Some(answers) => answers.otherwise,
        None => Answer::End,
    };
    answer(told).k
}

/// Returns values of an argument on both sides of each border that these rules draw.
fn values_of(argument: u8, answers: &Answers) -> Vec<u64> {
    let wide = |value: c_int| u64::from(value.cast_unsigned());
    let mut values = vec![0, 1, wide(OWN), wide(OWN + 1), wide(-1), 1 << 32, 1 << 63];
    for (_, is) in answers.rules.iter().copied().flatten().filter(|(of, _)| *of == argument) {
        match is {
            Is::In(allowed) => values.extend(allowed.iter().flat_map(|&value| [wide(value), wide(value ^ 0x40)])),
            Is::With { bits, value } => {
                let each = (0..32).map(|bit| 1 << bit);
                values.extend(each.flat_map(|bit: c_int| [wide(value ^ bit), wide((value | bits) ^ bit)]));
            }
            Is::Null | Is::OwnProcess | Is::OtherProcess => {}
        }
    }
    // What is in the upper half does not count, except for pointers.
    values.extend(values.clone().iter().map(|value| value | 7 << 32));
    values.sort_unstable();
    values.dedup();
    values
}

fn each_stage(mut seen: impl FnMut(ProcessStage)) {
    let roles = [
        ProcessRole::Worker,
        ProcessRole::WorkerWithTimers,
        ProcessRole::Compile,
        ProcessRole::CompileAndInit,
        ProcessRole::Manager,
    ];
    let none = SandboxOpenings::default();
    for role in roles {
        for stage in [ProcessStage::loading(role, &none), ProcessStage::serving(role, &none)] {
            seen(stage);
            seen(stage.and(FILES));
            seen(stage.and(FILES).and(WRITES));
            seen(stage.and(PEERS));
            seen(stage.and(FILES).and(WRITES).and(PEERS));
        }
    }
}

#[test]
fn each_call_gets_the_answer_that_the_table_gives_it() {
    let made_for = PROCESSOR.expect("a processor that is known");
    each_stage(|stage| {
        let calls = answers(stage, &[]);
        let program = program(&calls, OWN).expect("a program");
        let check = |number, arguments| {
            let call = Call { number, made_for, arguments };
            assert_eq!(run(&program, call).0, expected(&calls, call), "{stage:?} {call:x?}");
        };
        // Also numbers that no call has, and those by which programs for x32 name the same calls.
        let known = calls.keys().flat_map(|&number| [number, number.wrapping_sub(1), number + 1, number | 0x4000_0000]);
        for number in known.chain(0..600).chain([u32::MAX]) {
            check(number, [0; 6]);
            check(number, [u64::MAX; 6]);
        }
        for (&number, answers) in &calls {
            for rule in &answers.rules {
                let mut all = vec![[0; 6]];
                for &(argument, _) in *rule {
                    let values = values_of(argument, answers);
                    let with = |arguments: [u64; 6]| {
                        values.iter().map(move |&value| {
                            let mut arguments = arguments;
                            arguments[usize::from(argument)] = value;
                            arguments
                        })
                    };
                    all = all.into_iter().flat_map(with).collect();
                }
                all.into_iter().for_each(|arguments| check(number, arguments));
            }
        }
    });
}

#[test]
fn a_call_for_another_kind_of_processor_ends_the_process() {
    each_stage(|stage| {
        let program = program(&answers(stage, &[]), OWN).expect("a program");
        // Programs for 32 bits: the same numbers mean other calls.
        for number in 0..600 {
            let call = Call { number, made_for: 0x4000_0003, arguments: [0; 6] };
            assert_eq!(run(&program, call).0, libc::SECCOMP_RET_KILL_PROCESS);
        }
    });
}

#[test]
fn a_program_with_debug_assertions_may_close_descriptors_in_every_process() {
    each_stage(|stage| {
        let program = program(&answers(stage, &[]), OWN).expect("a program");
        for (number, command) in [(libc::SYS_fcntl, libc::F_GETFD), (libc::SYS_close, 0)] {
            let arguments = [3, command as u64, 0, 0, 0, 0];
            let call = Call { number: number as u32, made_for: PROCESSOR.expect("known"), arguments };
            assert_eq!(run(&program, call).0, libc::SECCOMP_RET_ALLOW, "{stage:?}");
        }
    });
}

#[test]
fn a_call_that_tests_set_free_is_not_filtered() {
    let free = [libc::SYS_ptrace, libc::SYS_openat, libc::SYS_process_madvise];
    each_stage(|stage| {
        let program = program(&answers(stage, &free), OWN).expect("a program");
        for call in free {
            let call = Call { number: call as u32, made_for: PROCESSOR.expect("known"), arguments: [1; 6] };
            assert_eq!(run(&program, call).0, libc::SECCOMP_RET_ALLOW);
        }
    });
}

#[test]
fn a_number_is_found_in_few_steps() {
    each_stage(|stage| {
        let calls = answers(stage, &[]);
        let program = program(&calls, OWN).expect("a program");
        let made_for = PROCESSOR.expect("a processor that is known");
        let longest = (0..600).map(|number| run(&program, Call { number, made_for, arguments: [0; 6] }).1).max();
        // Each halving takes two instructions at most; before it there are three, behind it two.
        let halvings = calls.len().next_power_of_two().ilog2() as usize;
        assert!(longest <= Some(5 + 2 * halvings), "{longest:?} for {} calls", calls.len());
    });
}

#[test]
fn a_rule_that_is_longer_than_a_jump_is_refused() {
    const VALUES: [c_int; 300] = [1; 300];
    const RULE: Rule = &[(0, Is::In(&VALUES))];
    let answers = Answers { rules: vec![RULE], matching: Answer::Allow, otherwise: Answer::End };
    assert_eq!(program(&BTreeMap::from([(1, answers)]), OWN).err(), Some(ProgramError::TooLong));
}
