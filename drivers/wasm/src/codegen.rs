//! For what kind of checks machine code is made. Both halves must agree on it.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};
use wasmtime::{Engine, WasmBacktraceDetails};

/// What compiled code looks at while it runs. Code of one kind cannot be run as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Codegen {
    /// It looks at a clock, so that it can be interrupted and shares its thread.
    pub(crate) epochs: bool,
    /// It counts its steps.
    pub(crate) fuel: bool,
}

impl Codegen {
    /// How many kinds there are.
    pub(crate) const KINDS: usize = 4;

    /// The number of this kind, below [`KINDS`](Self::KINDS).
    pub(crate) fn index(self) -> usize {
        usize::from(self.epochs) + 2 * usize::from(self.fuel)
    }

    /// The engine's settings. What only matters at run time is added by whoever runs.
    pub(crate) fn config(self) -> wasmtime::Config {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(self.epochs).consume_fuel(self.fuel);
        config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
        config
    }

    /// Tells engines apart whose code is not interchangeable: by version, settings and processor.
    pub(crate) fn engine_hash(self) -> wasmtime::Result<u64> {
        let mut hasher = DefaultHasher::new();
        Engine::new(&self.config())?.precompile_compatibility_hash().hash(&mut hasher);
        Ok(hasher.finish())
    }
}
