//! Program 7: two writers put three names each into one queue, and a reader gets them until it is terminated.
//!
//! ```python
//! queue = Queue()
//! writers = [Process(target=write, args=(queue, names)) for names in ('ABC', 'DEF')]
//! reader = Process(target=read, args=(queue,))
//! for process in [*writers, reader]:
//!     process.start()
//! for writer in writers:
//!     writer.join()
//! reader.terminate()
//! reader.join()
//! print(f'The reader ended with {reader.exitcode}')
//! ```

use wasmpool::{Error, Manager};

use crate::{printing, process};

pub fn run() -> Result<(), Error> {
    let manager = Manager::new();
    let (names, said) = (manager.queue::<String>("names", 0)?, manager.queue::<String>("said", 0)?);
    let exitcode = printing(&said, || {
        let mut writers = Vec::new();
        for three in [["A", "B", "C"], ["D", "E", "F"]] {
            let writer = process("write-names").args(three).share(names.put_only()).share(said.put_only());
            writers.push(writer.start()?);
        }
        let reader = process("read-names").share(names.get_only()).share(said.put_only()).start()?;
        for writer in writers {
            writer.join()?;
        }
        // Python's program trusts that the reader is quick enough. Here it has called each name done.
        names.join()?;
        reader.terminate();
        Ok(reader.join()?.exitcode())
    })?;
    println!("The reader ended with {}", exitcode.unwrap_or_default());
    Ok(())
}
