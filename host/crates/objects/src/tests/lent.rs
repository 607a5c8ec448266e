//! What participants do without asking with locks, lists and dicts. It must not be seen but by its speed.

use super::*;
use Operation::{Acquire, DictGet, IsLocked, Length, ListExtend, Release};

fn lock() -> Bench {
    Bench::fast(ObjectForm::Lock)
}

fn list() -> Bench {
    Bench::fast(ObjectForm::List)
}

fn dict() -> Bench {
    Bench::fast(ObjectForm::Dict)
}

fn set(key: &str, value: &str) -> Operation {
    Operation::DictSet(key.to_owned(), value.into())
}

fn get(key: &str) -> Operation {
    DictGet(key.to_owned())
}

fn entry(value: &str, version: u64) -> Answer {
    Ok(Reply::Entry(Some((value.into(), version))))
}

impl Bench {
    /// Releases a lock without asking, and tells the manager if that is wanted.
    fn release(&mut self, participant: ParticipantId) -> Vec<(ParticipantId, Answer)> {
        if self.words.release(participant) {
            self.machine.released(self.now, participant, 0, &mut self.words, &mut self.outputs);
        }
        self.by_participant()
    }

    /// Sets an entry on credit.
    fn set_on_credit(&mut self, participant: ParticipantId, key: &str, value: &str) -> bool {
        let has_credit = self.words.subtract(participant, 0, key.len() + value.len());
        if has_credit {
            self.words.write_entry(participant, 0, Some(key), value.as_bytes());
        }
        has_credit
    }

    fn append(&mut self, participant: ParticipantId, value: &str) {
        if !self.words.put(participant, 0, value.as_bytes()) {
            assert_eq!(self.ask(participant, ListExtend(vec![value.into()])), DONE);
        }
    }

    fn elements(&mut self, participant: ParticipantId) -> Vec<String> {
        match self.ask(participant, Operation::ListRange { start: 0, most: 10_000 }) {
            Ok(Reply::Many(all)) => all.into_iter().map(|element| String::from_utf8(element).unwrap()).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn changed(&mut self) -> Vec<ParticipantId> {
        std::mem::take(&mut self.words.changed)
    }
}

// ---- locks -----------------------------------------------------------------------------------------------------------

#[test]
fn a_lock_is_asked_for_once_while_nobody_else_wants_it() {
    let mut bench = lock();
    assert_eq!(bench.ask(0, Acquire), ACQUIRED);
    for _ in 0..1000 {
        assert_eq!(bench.release(0), []);
        assert!(bench.words.acquire(0));
    }
    assert_eq!(bench.ask(1, IsLocked), YES);
    bench.release(0);
    assert_eq!(bench.ask(1, IsLocked), NO);
}

/// Row 5.1
#[test]
fn a_lock_that_was_released_without_asking_is_free() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    assert_eq!(bench.look(1, Acquire), TIMED_OUT);
    bench.release(0);
    assert_eq!(bench.look(1, Acquire), ACQUIRED);
    assert!(!bench.words.acquire(0), "it is another's");
    assert_eq!(bench.ask(0, Release), Err(ObjectError::NotHolder));
    bench.release(1);
    assert_eq!(bench.ask(0, Release), Err(ObjectError::NotHeld));
}

/// Row 0.9
#[test]
fn who_waits_for_a_lent_lock_has_it_when_it_is_released_first_come_first_served() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    bench.wait(1, Acquire);
    bench.wait(2, Acquire);
    assert_eq!(bench.release(0), [(1, ACQUIRED)]);
    assert!(!bench.words.acquire(0), "others wait");
    bench.wait(0, Acquire);
    assert_eq!(bench.release(1), [(2, ACQUIRED)]);
    assert_eq!(bench.release(2), [(0, ACQUIRED)]);
}

/// The release is on its way to the manager.
#[test]
fn who_asks_later_does_not_come_before_those_who_wait() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    bench.wait(1, Acquire);
    assert!(bench.words.release(0));
    assert_eq!(bench.all_of(2, Acquire, None), [(1, ACQUIRED)]);
    assert_eq!(bench.all_of(3, IsLocked, None), [(3, YES)]);
    assert!(bench.words.release(1));
    assert_eq!(bench.all_of(3, IsLocked, None), [(2, ACQUIRED), (3, YES)]);
}

/// Row 0.2
#[test]
fn a_release_that_was_not_told_yet_counts_before_the_end_of_a_timeout() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    bench.wait_for(1, Acquire, 10);
    assert!(bench.words.release(0));
    assert_eq!(bench.pass(10), [(1, ACQUIRED)]);
}

#[test]
fn a_lock_is_lent_again_after_nobody_wants_it_any_more() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    assert_eq!(bench.look(1, Acquire), TIMED_OUT);
    bench.release(0);
    assert!(!bench.words.acquire(0));
    assert_eq!(bench.ask(0, Acquire), ACQUIRED);
    bench.release(0);
    assert!(bench.words.acquire(0));
}

/// Rows 5.5 and 5.6
#[test]
fn a_lent_lock_that_its_holder_did_not_release_is_abandoned() {
    for dies in [true, false] {
        let mut bench = lock();
        bench.ask(0, Acquire).unwrap();
        bench.release(0);
        assert!(bench.words.acquire(0));
        bench.wait(1, Acquire);
        let answers = if dies { bench.kill(0) } else { bench.end(0) };
        assert_eq!(answers, [(1, abandoned("p0"))]);
    }
}

#[test]
fn a_lent_lock_that_was_released_is_not_abandoned_and_not_acquired_by_the_next_item() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    bench.release(0);
    bench.end(0);
    assert!(!bench.words.acquire(0));
    assert_eq!(bench.ask(1, Acquire), ACQUIRED);
    bench.release(1);
    bench.kill(1);
    assert_eq!(bench.ask(2, Acquire), ACQUIRED);
}

#[test]
fn a_release_of_a_lock_that_is_another_s_or_was_never_granted_changes_nothing() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    for (liar, object) in [(1, 0), (0, 0), (1, 77)] {
        bench.machine.released(bench.now, liar, object, &mut bench.words, &mut bench.outputs);
    }
    assert_eq!(bench.by_participant(), []);
    assert_eq!(bench.look(2, Acquire), TIMED_OUT);
}

/// Row 5.4: its holder counts how often it has it.
#[test]
fn an_rlock_is_lent_with_the_right_to_acquire_it_again() {
    let mut bench = Bench::fast(ObjectForm::Rlock);
    bench.ask(0, Acquire).unwrap();
    assert!(bench.words.locks[&(0, 0)].nests);
    bench.wait(1, Acquire);
    assert_eq!(bench.release(0), [(1, ACQUIRED)]);
}

#[test]
fn the_lock_of_a_condition_is_not_lent() {
    let mut bench = Bench::fast(ObjectForm::Condition);
    bench.ask(0, Acquire).unwrap();
    assert!(bench.words.locks.is_empty());
}

// ---- lists -----------------------------------------------------------------------------------------------------------

#[test]
fn elements_are_appended_with_one_question_in_many() {
    let mut bench = list();
    let mut asked = 0;
    for number in 0..10_000 {
        let text = number.to_string();
        if !bench.words.put(0, 0, text.as_bytes()) {
            asked += 1;
            assert_eq!(bench.ask(0, ListExtend(vec![text.into()])), DONE);
        }
    }
    assert!(asked < 10_000 / 50, "{asked}");
    let all: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    assert_eq!(bench.elements(1), all);
    assert_eq!(bench.violations(), []);
}

#[test]
fn elements_have_the_order_in_which_they_were_appended_whoever_appended_them() {
    let mut bench = list();
    let mut all = Vec::new();
    for round in 0..200 {
        let text = round.to_string();
        bench.append(round / 20 % 3, &text);
        all.push(text);
    }
    assert_eq!(bench.elements(5), all);
}

#[test]
fn room_that_is_lent_is_taken_back_before_anybody_is_refused() {
    let quota = ObjectQuota { entries: 20, bytes: 1000 };
    let spec = ObjectSpec { quota, ..spec(ObjectForm::List) };
    let mut bench = Bench::of(vec![spec], ParticipantLimits::WORKER);
    bench.append(0, "a");
    assert!(bench.words.credit(0) > 0);
    for _ in 0..19 {
        bench.append(1, "b");
    }
    assert!(matches!(bench.ask(1, ListExtend(vec![b"c".to_vec()])), Err(ObjectError::Quota(_))));
    assert_eq!(bench.ask(0, Length), number(20));
}

#[test]
fn more_than_the_credit_is_a_violation_whatever_the_object() {
    for (form, key) in [(ObjectForm::List, None), (ObjectForm::Dict, Some("k")), (ObjectForm::Lock, None)] {
        let mut bench = Bench::fast(form.clone());
        bench.words.write_entry(0, 0, key, b"x");
        bench.read(0);
        assert_eq!(bench.violations().len(), 1, "{form:?}");
    }
    // An entry for a list, and an element for a dict.
    let mut bench = list();
    bench.append(0, "a");
    bench.words.write_entry(0, 0, Some("k"), b"x");
    bench.read(0);
    assert_eq!(bench.violations().len(), 1);
    let mut bench = dict();
    bench.ask(0, set("k", "v")).unwrap();
    bench.words.write(0, 0, b"x");
    bench.read(0);
    assert_eq!(bench.violations().len(), 1);
}

// ---- dicts -----------------------------------------------------------------------------------------------------------

#[test]
fn entries_that_are_set_on_credit_have_the_versions_that_their_participant_counts() {
    let mut bench = dict();
    let Ok(Reply::Number(mut version)) = bench.ask(0, set("a", "0")) else { panic!("no version") };
    let mut asked = 0;
    for number in 1..1000 {
        let (key, value) = (["a", "b", "c"][number % 3], number.to_string());
        version += 1;
        if !bench.set_on_credit(0, key, &value) {
            asked += 1;
            assert_eq!(bench.ask(0, set(key, &value)), Ok(Reply::Number(version)));
        }
        if number % 50 == 0 {
            assert_eq!(bench.ask(1, get(key)), entry(&value, version));
        }
    }
    assert!(asked < 1000 / 10, "{asked}");
    assert_eq!(bench.violations(), []);
}

#[test]
fn an_entry_that_is_on_the_way_when_another_sets_one_keeps_the_version_that_its_participant_counted() {
    let mut bench = dict();
    assert_eq!(bench.ask(0, set("a", "0")), Ok(Reply::Number(1)));
    assert!(bench.set_on_credit(0, "a", "1"));
    assert!(bench.words.subtract(0, 0, 2), "its version is 3");
    assert_eq!(bench.ask(1, set("a", "other")), Ok(Reply::Number(4)));
    assert!(!bench.set_on_credit(1, "a", "2"), "none has credit while something is on the way");
    bench.words.write_entry(0, 0, Some("b"), b"x");
    assert_eq!(bench.ask(2, get("b")), entry("x", 3));
    assert_eq!(bench.ask(2, get("a")), entry("other", 4));
    assert_eq!(bench.ask(1, set("a", "3")), Ok(Reply::Number(5)));
    assert!(bench.set_on_credit(1, "a", "4"));
    assert_eq!(bench.ask(2, get("a")), entry("4", 6));
    assert_eq!(bench.violations(), []);
}

#[test]
fn what_is_on_the_way_from_a_participant_that_died_reserves_nothing_any_more() {
    let mut bench = dict();
    bench.ask(0, set("a", "0")).unwrap();
    assert!(bench.words.subtract(0, 0, 2));
    bench.ask(1, set("a", "1")).unwrap();
    bench.kill(0);
    bench.ask(1, set("a", "2")).unwrap();
    assert!(bench.set_on_credit(1, "a", "3"));
    assert_eq!(bench.violations(), []);
}

#[test]
fn readers_are_told_of_changes_by_others_once_and_not_of_their_own() {
    let mut bench = dict();
    bench.ask(0, set("a", "0")).unwrap();
    bench.ask(1, get("a")).unwrap();
    bench.ask(2, get("b")).unwrap();
    assert!(bench.changed().is_empty());
    bench.ask(0, set("a", "1")).unwrap();
    assert_eq!(bench.changed(), [1, 2]);
    bench.ask(0, set("a", "2")).unwrap();
    assert!(bench.changed().is_empty(), "they have asked for nothing since");
    for (change, told) in [
        (Operation::DictPop("a".to_owned()), true),
        (Operation::DictIncrement("n".to_owned(), 1), true),
        (Operation::DictSetMany(vec![("m".to_owned(), b"m".to_vec())]), true),
        (Operation::Empty, true),
        (Operation::DictContains("n".to_owned()), false),
        (Length, false),
    ] {
        bench.ask(1, get("a")).unwrap();
        bench.changed();
        bench.ask(2, change.clone()).unwrap();
        assert_eq!(bench.changed().contains(&1), told, "{change:?}");
    }
}

/// Row 2.6, for dicts: it was set before it is asked for.
#[test]
fn nobody_remembers_what_another_may_set_without_asking() {
    let mut bench = dict();
    bench.ask(1, get("a")).unwrap();
    bench.ask(0, set("a", "1")).unwrap();
    assert_eq!(bench.changed(), [1]);
    // Both use it, so each has to ask.
    assert_eq!(bench.ask(1, get("a")), entry("1", 1));
    assert!(!bench.set_on_credit(0, "a", "2"));
    assert!(bench.changed().is_empty());
    // A put may be on the way.
    bench.ask(0, set("a", "2")).unwrap();
    assert!(bench.words.subtract(0, 0, 2));
    bench.changed();
    assert_eq!(bench.ask(1, get("a")), entry("2", 2));
    assert_eq!(bench.changed(), [1], "it must not remember that");
    bench.words.write_entry(0, 0, Some("a"), b"3");
    assert_eq!(bench.ask(1, get("a")), entry("3", 3));
    assert!(bench.changed().is_empty());
}

#[test]
fn nobody_is_told_who_cannot_remember() {
    let mut bench = Bench::new(ObjectForm::Dict);
    bench.ask(0, get("a")).unwrap();
    bench.ask(1, set("a", "1")).unwrap();
    assert!(bench.changed().is_empty());
    assert!(!bench.set_on_credit(1, "a", "2"));
}
