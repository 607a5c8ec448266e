//! Both ends of a pipe.

use serde_json::{Value, json};
use wasmpool_guest::shared::{End, Error, PipeEnd};

use crate::python::{literal, set};

pub fn one_way(process: &str) -> Result<String, Error> {
    if process == "child" {
        PipeEnd::open("link", End::Second)?.send_json(&json!(["spam", 42, "egg"]), None)?;
        return Ok(String::new());
    }
    let received: Value = PipeEnd::open("link", End::First)?.recv_json(None)?;
    Ok(literal(&received) + "\n")
}

pub fn both_ways(process: &str) -> Result<String, Error> {
    if process == "child" {
        let link = PipeEnd::open("link", End::Second)?;
        link.send_json(&json!({"name": "Bob", "spam": 42}), None)?;
        let answer: Vec<String> = link.recv_json(None)?;
        return Ok(format!("Child got: {}\n", set(&answer)));
    }
    let link = PipeEnd::open("link", End::First)?;
    let received: Value = link.recv_json(None)?;
    let doubled: Vec<String> = "spam".chars().map(|letter| format!("{letter}{letter}")).collect();
    link.send_json(&doubled, None)?;
    Ok(format!("Parent got: {}\n", literal(&received)))
}
