//! The rights that an operation needs.

use wasmpool_core::share::{ObjectForm, ObjectRights};

use crate::operation::{ObjectError, Operation, PipeEnd};

/// Rights that are needed, of those of [`ObjectRights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    Nothing,
    First,
    Second,
    Both,
}

fn of_end(end: PipeEnd) -> Needed {
    match end {
        PipeEnd::First => Needed::First,
        PipeEnd::Second => Needed::Second,
    }
}

fn needed(operation: &Operation) -> Needed {
    use Operation::*;
    match operation {
        Put(_) | Shutdown { .. } => Needed::Second,
        Get { .. } | Take | Finish(_) | GiveBack(_) | TaskDone => Needed::First,
        OpenEnd(end) | CloseEnd(end) | Send(end, _) | Recv { end, .. } | Poll(end) => of_end(*end),
        IsSet | WaitEvent => Needed::First,
        Set | Clear => Needed::Second,
        DictGet(_) | DictContains(_) | DictPage { .. } | DictKeys { .. } | ListGet(_) | ListRange { .. } | Length => {
            Needed::First
        }
        DictSet(..) | DictSetMany(_) | ListSet(..) | ListExtend(_) | ListInsert(..) | Empty => Needed::Second,
        // These tell what was there.
        DictCompareAndSet { .. } | DictPop(_) | DictIncrement(..) | ListCompareAndSet { .. } | ListPop(_) => {
            Needed::Both
        }
        // Each of its ends is checked.
        PollAny(_) => Needed::Nothing,
        // Whoever has the numbers checks it.
        Numbers(_) | Settle | LastToken => Needed::Nothing,
        JoinQueue | Size | IsEmpty | IsFull => Needed::Nothing,
        Acquire | Release | IsLocked | Slots | Token | WaitCondition | Notify { .. } => Needed::Nothing,
        Parties | Waiting | IsBroken | WaitBarrier | Abort | Reset => Needed::Nothing,
    }
}

/// Refuses an operation whose right was not granted.
pub(crate) fn check(rights: ObjectRights, operation: &Operation, form: &ObjectForm) -> Result<(), ObjectError> {
    let needed = needed(operation);
    let lacks_first = !rights.first && matches!(needed, Needed::First | Needed::Both);
    let lacks_second = !rights.second && matches!(needed, Needed::Second | Needed::Both);
    let (first, second) = match form {
        ObjectForm::Queue { .. } => ("get", "put"),
        ObjectForm::Pipe { .. } => ("first", "second"),
        _ => ("read", "write"),
    };
    match (lacks_first, lacks_second) {
        (true, _) => Err(ObjectError::Denied(first.to_owned())),
        (_, true) => Err(ObjectError::Denied(second.to_owned())),
        (false, false) => Ok(()),
    }
}
