//! Squares of the numbers on the command line: `cargo run --release --example squares -- 1 2 3`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what it prints is what it is for")]

use wasmpool::{Error, Pool};

fn main() -> Result<(), Error> {
    // First thing: worker processes are this program, too.
    wasmpool::worker_entry();
    let numbers = std::env::args().skip(1);
    let pool = Pool::builder(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/squares.wat")).build()?;
    for square in pool.imap::<_, i64>(numbers.map(|number| number.parse::<i64>().unwrap_or_default())) {
        match square {
            Ok(square) => println!("{square}"),
            Err(Error::Item(e)) => eprintln!("{e}"),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
