//! Values, arrays and lists.

use wasmpool_guest::shared::{Array, Error, List, Lock, Value};

pub fn assign() -> Result<(), Error> {
    #[expect(clippy::approx_constant, reason = "the original says so")]
    Value::<f64>::open("num")?.store(3.14)?;
    Array::<i32>::open("arr")?.store(0, 5)
}

pub fn assign_and_append() -> Result<(), Error> {
    assign()?;
    List::open("words")?.append("Hello")
}

pub fn append(item: u32) -> Result<(), Error> {
    let (items, gate) = (List::open("items")?, Lock::open("gate")?);
    let _guard = gate.acquire(None)?;
    items.append(item.to_string())
}
