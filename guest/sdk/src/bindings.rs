//! The worlds of `wit/task.wit` and `wit/shared.wit`, as `wit-bindgen` sees them.
//!
//! A module each, because a component's world is the sum of the bindings whose
//! `export` macro it calls: a task without `init` must not call the second.

pub mod task {
    wit_bindgen::generate!({
        path: "wit/task.wit",
        world: "task",
        pub_export_macro: true,
        export_macro_name: "export_task",
    });
}

pub mod task_with_init {
    wit_bindgen::generate!({
        path: "wit/task.wit",
        world: "task-with-init",
        pub_export_macro: true,
        export_macro_name: "export_task_with_init",
    });
}

#[cfg(feature = "shared")]
pub mod shared {
    wit_bindgen::generate!({
        path: "wit/shared.wit",
        world: "shared",
    });
}
