//! Program 19: a result that is asked for before it is there.
//!
//! ```python
//! result = pool.apply_async(wait_for, (go,))
//! try: result.get(timeout=0.1)
//! except TimeoutError: print('TimeoutError')
//! print(result.ready())
//! try: result.successful()
//! except ValueError as e: print(e)
//! go.set()
//! result.wait()
//! print(result.ready(), result.successful(), result.get())
//! ```

use std::time::Duration;

use wasmpool::{Error, Pool};

use crate::guest;

pub fn run() -> Result<(), Error> {
    let pool = Pool::builder(guest()).function("wait-for-go").workers(1).build()?;
    let go = pool.event("go")?;
    let result = pool.apply_async::<_, String>(())?;
    if let Err(Error::WaitTimeout) = result.get_timeout(Duration::from_millis(100)) {
        println!("TimeoutError");
    }
    println!("{}", result.ready());
    if let Err(e) = result.successful() {
        println!("{e}");
    }
    go.set()?;
    result.wait();
    println!("{} {} {}", result.ready(), result.successful()?, result.get()?);
    Ok(())
}
