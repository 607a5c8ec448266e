//! The macros for a guest's author. Each macro only names functions; what is done
//! with them is in `runtime`, where it can be tested without a component.

/// Exports functions over bytes as this component's task.
///
/// `run` is a `fn(&[u8]) -> Result<R, E>`, where `R` becomes bytes (`Vec<u8>`,
/// `String`) and `E` can be displayed. Its `Err` fails the item, and no other.
///
/// ```
/// fn reverse(item: &[u8]) -> Result<Vec<u8>, String> {
///     Ok(item.iter().rev().copied().collect())
/// }
///
/// wasmpool_guest::task!(run: reverse);
/// # fn main() {}
/// ```
///
/// With `init`, a `fn(&[u8]) -> Result<S, E>` turns the pool's `--init` argument
/// into a state that every `run` is lent, so `run` is a
/// `fn(&S, &[u8]) -> Result<R, E>`. Where the pool was started without `--init`,
/// `init` is given no bytes before the first item.
///
/// ```
/// struct Prefix(Vec<u8>);
///
/// fn configure(args: &[u8]) -> Result<Prefix, String> {
///     Ok(Prefix(args.to_vec()))
/// }
///
/// fn prepend(prefix: &Prefix, item: &[u8]) -> Result<Vec<u8>, String> {
///     Ok([&prefix.0, item].concat())
/// }
///
/// wasmpool_guest::task!(init: configure, run: prepend);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! task {
    (run: $run:path $(,)?) => {
        $crate::__export!($crate::runtime::run_bytes, $run);
    };
    (init: $init:path, run: $run:path $(,)?) => {
        $crate::__export!($crate::runtime::init_bytes, $init, $crate::runtime::run_bytes_with, $run);
    };
}

/// Exports functions over `serde` types as this component's task; items and
/// results are JSON.
///
/// `run` is a `fn(T) -> Result<R, E>`; with `init`, a `fn(A) -> Result<S, E>`,
/// it is a `fn(&S, T) -> Result<R, E>`. An item that is not a `T` fails by
/// itself, with a text that says where. Where the pool was started without
/// `--init`, `init` is given JSON's `null`: make `A` an `Option` to allow it.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Order { price: f64, count: u32 }
///
/// #[derive(Serialize)]
/// struct Total { total: f64 }
///
/// fn total(order: Order) -> Result<Total, String> {
///     Ok(Total { total: order.price * f64::from(order.count) })
/// }
///
/// wasmpool_guest::json_task!(run: total);
/// # fn main() {}
/// ```
///
/// ```
/// fn rate(percent: Option<f64>) -> Result<f64, String> {
///     Ok(1.0 + percent.unwrap_or(19.0) / 100.0)
/// }
///
/// fn gross(rate: &f64, net: f64) -> Result<f64, String> {
///     Ok(net * rate)
/// }
///
/// wasmpool_guest::json_task!(init: rate, run: gross);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! json_task {
    (run: $run:path $(,)?) => {
        $crate::__export!($crate::runtime::run_json, $run);
    };
    (init: $init:path, run: $run:path $(,)?) => {
        $crate::__export!($crate::runtime::init_json, $init, $crate::runtime::run_json_with, $run);
    };
}

/// The exported type behind both macros: calls `$call` with the author's function.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($call:path, $run:path) => {
        const _: () = {
            struct Task;
            impl $crate::bindings::task::Guest for Task {
                fn run(item: Vec<u8>) -> Result<Vec<u8>, String> {
                    $call($run, &item)
                }
            }
    $crate::bindings::task::export_task!(Task with_types_in $crate::bindings::task);
        };
    };
    ($call_init:path, $init:path, $call:path, $run:path) => {
        const _: () = {
            struct Task;
            impl $crate::bindings::task_with_init::Guest for Task {
                fn init(args: Vec<u8>) -> Result<(), String> {
                    $call_init($init, &args)
                }
                fn run(item: Vec<u8>) -> Result<Vec<u8>, String> {
                    $call($init, $run, &item)
                }
            }
            $crate::bindings::task_with_init::export_task_with_init!(
                Task with_types_in $crate::bindings::task_with_init
            );
        };
    };
}
