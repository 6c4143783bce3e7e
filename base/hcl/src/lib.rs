//! Reads every HCL document of orch: jobs, agent files, policies, variable files.
//!
//! It parses both spellings (HCL and its JSON form), evaluates expressions, decodes bodies against what the caller asks
//! for, and says what is wrong with file, line, column and the source line. It does not know what a document means.
//!
//! ```
//! use orch_hcl::{Diagnostics, FileAccess, Labels, Scope, Source, UnknownRoots, Value, parse};
//!
//! let text = r#"
//! group "web" {
//!   count   = var.n + 1
//!   timeout = "1m30s"
//!   host    = "${attr.unique.hostname}"
//!   meta { owner = "team" }
//! }
//! "#;
//! let document = parse(Source::new("web.hcl", text))?;
//! let vars = Value::Map([("n".to_owned(), Value::from(2))].into());
//! let scope = Scope::new(UnknownRoots::KeepLiteral, FileAccess::Disabled).with("var", vars);
//!
//! let diagnostics = Diagnostics::new();
//! let mut top = document.reader(&scope, &diagnostics).with_dynamic_blocks();
//! for group in top.blocks_with("group", Labels::Exactly(&["name"])) {
//!     let mut body = group.reader();
//!     assert_eq!(group.label(0), "web");
//!     assert_eq!(body.opt_i64("count"), Some(3));
//!     assert_eq!(body.opt_duration_ns("timeout"), Some(90_000_000_000));
//!     assert_eq!(body.opt_string("host").as_deref(), Some("${attr.unique.hostname}"));
//!     assert_eq!(body.opt_string_map_or_block("meta").unwrap_or_default()["owner"], "team");
//!     body.finish(); // whatever else stands in the group is an error
//! }
//! top.finish();
//! assert!(!diagnostics.has_errors(), "{diagnostics}");
//! # Ok::<(), Diagnostics>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod source;

mod diagnostics;

mod number;
mod value;

mod scope;
mod types;

mod eval;
mod functions;
mod suggest;

mod json;
mod scan;
mod syntax;

mod block;
mod decode;
mod dynamic;
mod expr;
mod references;
mod variables;

pub mod duration;

pub use block::{Block, Label};
pub use decode::{Attribute, BodyReader, Labels};
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use expr::Expr;
pub use number::Number;
pub use scope::{FileAccess, Scope, UnknownRoots};
pub use source::{Position, Source, Span};
pub use syntax::{Document, ParsedExpression, parse, parse_expression};
pub use types::{Field, Type};
pub use value::Value;
pub use variables::{VariableInputs, resolve_variables};
