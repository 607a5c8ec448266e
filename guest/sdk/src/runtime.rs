//! The code that the macros expand to: calls an author's function with a decoded
//! item, and keeps the state that `init` made.

use std::any::Any;
use std::cell::OnceCell;
use std::fmt::Display;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

thread_local! {
    /// An instance has one task, hence one state; its type is the author's.
    static STATE: OnceCell<Rc<dyn Any>> = const { OnceCell::new() };
}

pub fn run_bytes<R, E>(run: fn(&[u8]) -> Result<R, E>, item: &[u8]) -> Result<Vec<u8>, String>
where
    R: Into<Vec<u8>>,
    E: Display,
{
    run(item).map(Into::into).map_err(text)
}

pub fn run_json<T, R, E>(run: fn(T) -> Result<R, E>, item: &[u8]) -> Result<Vec<u8>, String>
where
    T: DeserializeOwned,
    R: Serialize,
    E: Display,
{
    encode(&run(decode("the item", item)?).map_err(text)?)
}

pub fn init_bytes<S, E>(init: fn(&[u8]) -> Result<S, E>, args: &[u8]) -> Result<(), String>
where
    S: 'static,
    E: Display,
{
    keep(init(args).map_err(text)?)
}

pub fn init_json<A, S, E>(init: fn(A) -> Result<S, E>, args: &[u8]) -> Result<(), String>
where
    A: DeserializeOwned,
    S: 'static,
    E: Display,
{
    keep(init(decode("the init argument", args)?).map_err(text)?)
}

pub fn run_bytes_with<S, R, E, F>(
    init: fn(&[u8]) -> Result<S, F>,
    run: fn(&S, &[u8]) -> Result<R, E>,
    item: &[u8],
) -> Result<Vec<u8>, String>
where
    S: 'static,
    R: Into<Vec<u8>>,
    E: Display,
    F: Display,
{
    let state = state(|| init_bytes(init, b""))?;
    run(&state, item).map(Into::into).map_err(text)
}

pub fn run_json_with<A, S, T, R, E, F>(
    init: fn(A) -> Result<S, F>,
    run: fn(&S, T) -> Result<R, E>,
    item: &[u8],
) -> Result<Vec<u8>, String>
where
    A: DeserializeOwned,
    S: 'static,
    T: DeserializeOwned,
    R: Serialize,
    E: Display,
    F: Display,
{
    let state = state(|| init_json(init, b"null"))?;
    encode(&run(&state, decode("the item", item)?).map_err(text)?)
}

/// Keeps the state of this instance. A second `init` would change the task under
/// items that are already done, so it is refused.
fn keep<S: 'static>(state: S) -> Result<(), String> {
    STATE.with(|slot| slot.set(Rc::new(state)).map_err(|_| "init was called twice on one instance".to_owned()))
}

/// Returns the state, made by `default` where the pool called no `init`.
fn state<S: 'static>(default: impl FnOnce() -> Result<(), String>) -> Result<Rc<S>, String> {
    if STATE.with(|slot| slot.get().is_none()) {
        default()?;
    }
    STATE
        .with(|slot| slot.get().cloned())
        .and_then(|state| state.downcast().ok())
        // One macro call names both functions, so their state is of one type.
        .ok_or_else(|| "init left a state of another type".to_owned())
}

fn decode<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| format!("{what} is not what was expected: {error}"))
}

fn encode<R: Serialize>(result: &R) -> Result<Vec<u8>, String> {
    serde_json::to_vec(result).map_err(|error| format!("the result has no JSON form: {error}"))
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// The test harness gives every test a thread, hence a `STATE`, of its own.
#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::cell::Cell;

    #[derive(Deserialize)]
    struct Order {
        price: f64,
        count: u32,
    }

    fn total(order: Order) -> Result<f64, String> {
        Ok(order.price * f64::from(order.count))
    }

    struct Counter {
        step: u32,
        sum: Cell<u32>,
    }

    fn counter(step: Option<u32>) -> Result<Counter, String> {
        let step = step.unwrap_or(1);
        if step == 0 {
            return Err("a step of 0".to_owned());
        }
        Ok(Counter { step, sum: Cell::new(0) })
    }

    fn count(counter: &Counter, items: u32) -> Result<u32, String> {
        counter.sum.set(counter.sum.get() + items * counter.step);
        Ok(counter.sum.get())
    }

    #[test]
    fn a_bytes_task_may_return_text_and_any_displayed_error() {
        fn upper(item: &[u8]) -> Result<String, std::str::Utf8Error> {
            Ok(std::str::from_utf8(item)?.to_uppercase())
        }
        assert_eq!(run_bytes(upper, b"abc"), Ok(b"ABC".to_vec()));
        assert!(run_bytes(upper, b"\xff").unwrap_err().contains("utf-8"));
    }

    #[test]
    fn a_json_task_decodes_items_and_encodes_results() {
        assert_eq!(run_json(total, br#"{"price":1.5,"count":3}"#), Ok(b"4.5".to_vec()));
    }

    #[test]
    fn an_item_that_does_not_fit_says_where() {
        let message = run_json(total, br#"{"price":1.5}"#).unwrap_err();
        assert!(message.contains("missing field `count`"), "{message}");
        assert!(message.contains("line 1"), "{message}");
    }

    #[test]
    fn state_lives_from_init_through_every_item() {
        assert_eq!(init_json(counter, b"10"), Ok(()));
        assert_eq!(run_json_with(counter, count, b"1"), Ok(b"10".to_vec()));
        assert_eq!(run_json_with(counter, count, b"2"), Ok(b"30".to_vec()));
    }

    #[test]
    fn without_init_the_state_is_made_from_null() {
        assert_eq!(run_json_with(counter, count, b"2"), Ok(b"2".to_vec()));
    }

    #[test]
    fn a_failed_init_leaves_no_state() {
        assert_eq!(init_json(counter, b"0"), Err("a step of 0".to_owned()));
        assert_eq!(init_json(counter, b"2"), Ok(()));
    }

    #[test]
    fn a_second_init_is_refused() {
        assert_eq!(init_json(counter, b"2"), Ok(()));
        assert!(init_json(counter, b"3").unwrap_err().contains("twice"));
    }
}
