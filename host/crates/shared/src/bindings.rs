//! The interfaces of `wit/shared.wit` as traits.

wasmtime::component::bindgen!({
    path: "../../../wit/shared.wit",
    world: "wasmpool:shared/shared",
    imports: { default: trappable },
    additional_derives: [PartialEq],
    trappable_error_type: { "wasmpool:shared/types.error" => super::refusal::Refusal },
});

pub use wasmpool::shared::{cells, collections, numbers, pipes, queues, self_, sync, types};
