//! Program 13: a producer puts 0, 1, 2; a consumer gets until it is terminated.
//!
//! ```python
//! queue = Queue()
//! producer, consumer = Process(target=produce, args=(queue,)), Process(target=consume, args=(queue,))
//! producer.start(); consumer.start()
//! producer.join(); consumer.terminate()
//! ```

use wasmpool::{Error, Manager};

use crate::{printing, process};

pub fn run() -> Result<(), Error> {
    let manager = Manager::new();
    let (numbers, said) = (manager.queue::<u32>("numbers", 0)?, manager.queue::<String>("said", 0)?);
    printing(&said, || {
        let producer = process("produce").share(numbers.put_only()).share(said.put_only()).start()?;
        let consumer = process("consume").share(numbers.get_only()).share(said.put_only()).start()?;
        producer.join()?;
        // Python's program trusts that the consumer is quick enough. Here it has called each number done.
        numbers.join()?;
        consumer.terminate();
        consumer.join().map(drop)
    })
}
