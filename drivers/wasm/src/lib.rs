//! The driver `wasm`: WebAssembly modules and components as tasks, each in a supervised process of its own.
//!
//! The agent's half plans and starts; the process's half, a hidden mode of the same program, compiles, links and runs.
