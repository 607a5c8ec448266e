//! Program 4: five processes, which the parent starts and then waits for.
//!
//! ```python
//! def announce(number):
//!     print(f'{current_process().name} ({os.getpid()}) has number {number}: Running')
//!
//! print(f'Parent process {os.getpid()}')
//! processes = []
//! for number in range(5):
//!     process = Process(target=announce, args=(str(number),))
//!     process.start()
//!     print('process start')
//!     processes.append(process)
//! for process in processes:
//!     process.join()
//! print('Process close')
//! ```

use wasmpool::Error;

use crate::process;

pub fn run() -> Result<(), Error> {
    println!("Parent process {}", std::process::id());
    let mut processes = Vec::new();
    for number in 0..5 {
        let name = format!("Process-{}", number + 1);
        processes.push(process("announce").args(number.to_string()).name(&name).start()?);
        println!("process start");
    }
    for process in processes {
        // The guest does not know the number of its process, so the parent adds it.
        let (name, said) = process.result::<(String, String)>()?;
        println!("{name} ({}) {said}", process.pid());
    }
    println!("Process close");
    Ok(())
}
