//! Program 18: a pool without a number; `join` before `close`; a task after `close`.
//!
//! ```python
//! pool = Pool()
//! print(f'{pool._processes} processes')
//! try: pool.join()
//! except ValueError as e: print(f'join: {e}')
//! pool.close()
//! try: pool.apply(square, (2,))
//! except ValueError as e: print(f'apply: {e}')
//! pool.join()
//! ```

use wasmpool::{Error, Pool};

use crate::guest;

pub fn run() -> Result<(), Error> {
    let pool = Pool::builder(guest()).function("square").build()?;
    println!("{} processes", pool.workers());
    if let Err(e) = pool.join() {
        println!("join: {e}");
    }
    pool.close();
    if let Err(e) = pool.apply::<_, i64>(2) {
        println!("apply: {e}");
    }
    pool.join()
}
