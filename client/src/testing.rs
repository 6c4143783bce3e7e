//! What this crate's tests build their allocations with.

pub(crate) use orch_model::testing::alloc;
