//! Finds the functions of a task that have to be counted, and how.

use wasm_encoder::ValType;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasmparser::component_types::{ComponentAnyTypeId, ComponentDefinedType, ComponentValType};
use wasmparser::types::TypesRef;
use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, Encoding, Parser, Payload, Validator, WasmFeatures,
};

use super::counters::{Counter, Counts};
use super::weights::{Weight, Weights};

/// The counters of a task.
#[derive(Debug, Default)]
pub struct Uses(Vec<OfComponent>);

/// The counters of a component: those of each of its canonical functions, in their order.
pub type OfComponent = Vec<OfCanonical>;

/// The counters of a function that the engine makes for a component or takes from it.
#[derive(Debug, Default)]
pub struct OfCanonical {
    /// The counter of a function that it makes. `None` if that takes negligible time, or calls a function of
    /// another component, which counts its own.
    pub made: Option<Counter>,
    /// The counters in front of functions of the component that the engine calls for it, with the indices of these.
    pub called: Vec<(u32, Counter)>,
}

impl Uses {
    /// Returns what of a component is counted.
    ///
    /// # Errors
    ///
    /// Fails if the component is not valid.
    pub fn of(wasm: &[u8]) -> Result<Uses, BinaryReaderError> {
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let mut weights = Weights::default();
        let mut components: Vec<OfComponent> = Vec::new();
        // Where those are in the list that are not yet at their end.
        let mut open = Vec::new();
        let mut copies = false;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            validator.payload(&payload)?;
            match &payload {
                Payload::Version { encoding, .. } => {
                    open.push(components.len());
                    if *encoding == Encoding::Component {
                        components.push(OfComponent::default());
                    }
                }
                Payload::End(_) => {
                    open.pop();
                }
                Payload::ComponentCanonicalSection(section) => {
                    copies |= open.len() > 1;
                    let all = section.clone().into_iter().collect::<Result<Vec<_>, _>>()?;
                    let at = open.last().and_then(|at| components.get_mut(*at));
                    if let (Some(component), Some(types)) = (at, validator.types(0)) {
                        add(component, &all, types, &mut weights);
                    }
                }
                _ => {}
            }
        }
        if !copies {
            // The outermost component cannot call those within it, and what the host copies for a call is not counted here.
            for canonical in components.iter_mut().flatten() {
                canonical.called.retain(|(_, counter)| !matches!(counter.counts, Counts::Room { .. }));
            }
        }
        Ok(Uses(components))
    }

    /// Returns whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.0.iter().flatten().all(|canonical| canonical.made.is_none() && canonical.called.is_empty())
    }

    /// Returns what is counted of each component, each before those within it.
    pub fn into_components(self) -> std::vec::IntoIter<OfComponent> {
        self.0.into_iter()
    }
}

/// Adds what counts for the functions of a section, the last that were defined.
fn add(to: &mut OfComponent, section: &[CanonicalFunction], types: TypesRef<'_>, weights: &mut Weights) {
    let made = section.iter().filter(|canonical| !matches!(canonical, CanonicalFunction::Lift { .. })).count();
    let mut next = types.function_count().saturating_sub(made as u32);
    for canonical in section {
        let called = called(canonical, types, weights);
        let made = if let CanonicalFunction::Lift { .. } = canonical {
            None
        } else {
            next += 1;
            counts(canonical, types, weights).and_then(|counts| of_function(next - 1, counts, types))
        };
        to.push(OfCanonical { made, called });
    }
}

/// Returns the counters in front of functions that the engine calls for this one.
fn called(canonical: &CanonicalFunction, types: TypesRef<'_>, weights: &mut Weights) -> Vec<(u32, Counter)> {
    let byte = moved(canonical, types, weights).map_or_else(|| passed(canonical, types, weights), Weight::byte);
    let called = options(canonical).iter().filter_map(|option| match option {
        CanonicalOption::Realloc(realloc) => Some((*realloc, Counts::Room { byte })),
        CanonicalOption::Callback(callback) => Some((*callback, Counts::Call(RESUMES))),
        _ => None,
    });
    called.filter_map(|(function, counts)| Some((function, of_function(function, counts, types)?))).collect()
}

/// Returns what each byte counts that a call of this function copies; 1 at least.
fn passed(canonical: &CanonicalFunction, types: TypesRef<'_>, weights: &mut Weights) -> u64 {
    let id = match canonical {
        CanonicalFunction::Lower { func_index, .. } => types.component_function_at(*func_index),
        CanonicalFunction::Lift { type_index, .. } => match types.component_any_type_at(*type_index) {
            ComponentAnyTypeId::Func(id) => id,
            _ => return 1,
        },
        _ => return 1,
    };
    let Some(ty) = types.get(id) else {
        return 1;
    };
    let values = ty.params.iter().map(|(_, ty)| ty).chain(&ty.result);
    values.map(|ty| weights.of(Some(ty), types).byte_in_call()).max().unwrap_or(1)
}

/// The counter for a function of a component.
fn of_function(function: u32, counts: Counts, types: TypesRef<'_>) -> Option<Counter> {
    let id = types.core_function_at(function);
    let ty = types.get(id)?.unwrap_func();
    let same = |types: &[wasmparser::ValType]| -> Option<Vec<ValType>> {
        types.iter().map(|ty| RoundtripReencoder.val_type(*ty).ok()).collect()
    };
    Some(Counter { params: same(ty.params())?, results: same(ty.results())?, counts })
}

/// The time that functions of the engine take, in nanoseconds: those that do something with a resource, those that only
/// look at something, those that look or wait for something, and those that go on with other tasks, or begin one.
const RESOURCE: u64 = 50;
const NOTES: u64 = 20;
const WAITS: u64 = 200;
const RESUMES: u64 = 1000;
const BEGINS: u64 = 2000;
/// Instructions that a read or write counts in addition to what it moves, because the engine looks for a party that
/// waits for it.
const MOVE: u64 = 500;

/// Returns what is counted of a function that the engine makes.
fn counts(canonical: &CanonicalFunction, types: TypesRef<'_>, weights: &mut Weights) -> Option<Counts> {
    use CanonicalFunction as F;
    Some(match canonical {
        F::StreamRead { .. } | F::StreamWrite { .. } => {
            Counts::Moves { call: MOVE, each: moved(canonical, types, weights)?.in_stream() }
        }
        F::FutureRead { .. } | F::FutureWrite { .. } => {
            Counts::Passes { call: MOVE, value: moved(canonical, types, weights)?.in_future() }
        }
        F::Lower { func_index, .. } => {
            let ty = types.get(types.component_function_at(*func_index))?;
            let handles = ty.params.iter().map(|(_, ty)| ty).chain(&ty.result);
            let begins = if ty.async_ { BEGINS } else { 0 };
            let units = handles.map(|ty| weights.of(Some(ty), types).in_call()).fold(begins, u64::saturating_add);
            return (units > 0).then_some(Counts::Call(units));
        }
        F::TaskReturn { .. } | F::TaskCancel => Counts::Call(WAITS),
        F::BackpressureInc | F::ResourceRep { .. } => Counts::Call(NOTES),
        // Each call that waits is looked at.
        F::BackpressureDec => Counts::Call(RESUMES),
        F::ResourceNew { .. } | F::ResourceDrop { .. } => Counts::Call(RESOURCE),
        F::StreamNew { .. }
        | F::FutureNew { .. }
        | F::WaitableSetNew
        | F::StreamCancelRead { .. }
        | F::StreamCancelWrite { .. }
        | F::FutureCancelRead { .. }
        | F::FutureCancelWrite { .. }
        | F::SubtaskCancel { .. }
        | F::StreamDropReadable { .. }
        | F::StreamDropWritable { .. }
        | F::FutureDropReadable { .. }
        | F::FutureDropWritable { .. }
        | F::WaitableSetDrop
        | F::SubtaskDrop
        | F::WaitableSetPoll { .. }
        | F::WaitableJoin => Counts::Call(WAITS),
        F::ThreadYield { .. } | F::WaitableSetWait { .. } => Counts::Call(RESUMES),
        _ => return None,
    })
}

/// The weight of what is read or written of a stream or a future.
fn moved(canonical: &CanonicalFunction, types: TypesRef<'_>, weights: &mut Weights) -> Option<Weight> {
    use CanonicalFunction as F;
    let (F::StreamRead { ty, .. } | F::StreamWrite { ty, .. } | F::FutureRead { ty, .. } | F::FutureWrite { ty, .. }) =
        canonical
    else {
        return None;
    };
    let payload: Option<&ComponentValType> = match types.get(types.component_defined_type_at(*ty))? {
        ComponentDefinedType::Stream { ty, .. } | ComponentDefinedType::Future { ty, .. } => ty.as_ref(),
        _ => return None,
    };
    Some(weights.of(payload, types))
}

/// The options of a function.
pub fn options(canonical: &CanonicalFunction) -> &[CanonicalOption] {
    match canonical {
        CanonicalFunction::Lift { options, .. }
        | CanonicalFunction::Lower { options, .. }
        | CanonicalFunction::TaskReturn { options, .. }
        | CanonicalFunction::StreamRead { options, .. }
        | CanonicalFunction::StreamWrite { options, .. }
        | CanonicalFunction::FutureRead { options, .. }
        | CanonicalFunction::FutureWrite { options, .. }
        | CanonicalFunction::ErrorContextNew { options }
        | CanonicalFunction::ErrorContextDebugMessage { options } => options,
        _ => &[],
    }
}
