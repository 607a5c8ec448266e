//! Objects that are there already, opened by their names.

use std::any::type_name;

use super::handle::Handle;
use super::number::SharedNumber;
use super::{Array, Barrier, Condition, Dict, Event, List, Lock, Namespace, PipeEnd, Queue, RLock, Semaphore, Value};
use wasmpool_core::share::{NumberType, ObjectForm};
use wasmpool_objects::operation::PipeEnd as End;

/// A type of shared object that [`Manager::open`](crate::Manager::open) returns: each of them, and a pair of
/// [`PipeEnd`] for a pipe.
pub trait SharedObjectType: sealed::OfHandle {}

impl<T: sealed::OfHandle> SharedObjectType for T {}

/// Returns what an object of this form is, in words.
pub fn kind_of(form: &ObjectForm) -> String {
    let number = |of: &NumberType| format!("{of:?}").to_lowercase();
    match form {
        ObjectForm::Queue { .. } => "a queue".to_owned(),
        ObjectForm::Pipe { .. } => "a pipe".to_owned(),
        ObjectForm::Value(of) => format!("a value of {}", number(of)),
        ObjectForm::Array(of, _) => format!("an array of {}", number(of)),
        ObjectForm::Lock => "a lock".to_owned(),
        ObjectForm::Rlock => "an rlock".to_owned(),
        ObjectForm::Semaphore { .. } => "a semaphore".to_owned(),
        ObjectForm::Event => "an event".to_owned(),
        ObjectForm::Condition => "a condition".to_owned(),
        ObjectForm::Barrier { .. } => "a barrier".to_owned(),
        ObjectForm::Dict => "a dict".to_owned(),
        ObjectForm::List => "a list".to_owned(),
        ObjectForm::Namespace => "a namespace".to_owned(),
    }
}

/// Returns the name of a type without the paths to it and to its parameters.
pub fn name_of<T>() -> String {
    let whole = type_name::<T>();
    let mut name = String::new();
    for part in whole.split_inclusive(['<', '>', '(', ')', ',', ' ']) {
        name.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    name
}

pub(super) mod sealed {
    use super::{Handle, ObjectForm};

    pub trait OfHandle: Sized {
        /// Returns the object as this type, if it is one.
        fn of_handle(handle: Handle, form: &ObjectForm) -> Option<Self>;
    }
}

macro_rules! opened {
    ($($name:ident $(<$of:ident>)? if $form:pat,)*) => { $(
        impl$(<$of>)? sealed::OfHandle for $name$(<$of>)? {
            fn of_handle(handle: Handle, form: &ObjectForm) -> Option<Self> {
                matches!(form, $form).then(|| $name::new(handle))
            }
        }
    )* };
}

opened! {
    Queue<T> if ObjectForm::Queue { .. },
    Lock if ObjectForm::Lock,
    RLock if ObjectForm::Rlock,
    Semaphore if ObjectForm::Semaphore { .. },
    Event if ObjectForm::Event,
    Condition if ObjectForm::Condition,
    Barrier if ObjectForm::Barrier { .. },
    Dict<V> if ObjectForm::Dict,
    List<V> if ObjectForm::List,
    Namespace if ObjectForm::Namespace,
}

impl<T> sealed::OfHandle for (PipeEnd<T>, PipeEnd<T>) {
    fn of_handle(handle: Handle, form: &ObjectForm) -> Option<Self> {
        matches!(form, ObjectForm::Pipe { .. })
            .then(|| (PipeEnd::new(handle.clone(), End::First), PipeEnd::new(handle, End::Second)))
    }
}

impl<T: SharedNumber> sealed::OfHandle for Value<T> {
    fn of_handle(handle: Handle, form: &ObjectForm) -> Option<Self> {
        (*form == ObjectForm::Value(T::TYPE)).then(|| Value::new(handle))
    }
}

impl<T: SharedNumber> sealed::OfHandle for Array<T> {
    fn of_handle(handle: Handle, form: &ObjectForm) -> Option<Self> {
        match form {
            ObjectForm::Array(of, length) if *of == T::TYPE => Some(Array::new(handle, *length)),
            _ => None,
        }
    }
}
