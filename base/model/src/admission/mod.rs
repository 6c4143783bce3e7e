//! What a job passes before it is logged: defaults are filled in, then every rule is checked.
//!
//! Pure functions, run by servers on every way a job can come in, and by the command line before it sends one.
//! [`canonicalize`] materialises defaults, [`validate`] collects every error with its field path, and [`gates`] holds
//! the one table of features that are not built yet.

mod context;
mod report;

mod canonicalize;
mod implied;
mod validate;

pub mod gates;

pub use canonicalize::canonicalize;
pub use context::AdmissionContext;
pub use report::{FieldError, FieldPath, Report, Step};
pub use validate::{validate, validate_host_volume};

#[cfg(test)]
mod tests;
