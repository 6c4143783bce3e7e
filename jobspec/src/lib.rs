//! From the text of a job file to a [`Job`](orch_model::Job), or to diagnostics with file, line, column and a caret.
//!
//! Both spellings of HCL and the API's JSON are read. Every block and attribute of the job specification becomes a field
//! of the model here and nowhere else; defaults that admission fills are left to it. It works offline: no network, no
//! server, no defaults that a server decides.
//!
//! ```
//! use orch_jobspec::{ParseOptions, Source, check, parse};
//! use orch_model::admission::AdmissionContext;
//!
//! let text = r#"
//! job "web" {
//!   group "app" {
//!     task "server" {
//!       driver = "raw_exec"
//!       config { command = "/bin/server" }
//!     }
//!   }
//! }
//! "#;
//! let parsed = parse(Source::new("web.hcl", text), &ParseOptions::default())?;
//! assert_eq!(parsed.job.task_groups[0].tasks[0].driver, "raw_exec");
//!
//! let wrong = text.replace("raw_exec", "rawexec");
//! let checked = check(Source::new("web.hcl", wrong), &ParseOptions::default(), &AdmissionContext::new(&["raw_exec"]));
//! let message = checked.diagnostics.to_string();
//! assert!(message.starts_with("web.hcl:5:16: error: group \"app\" > task \"server\" > driver: there is no driver"), "{message}");
//! # Ok::<(), orch_jobspec::Diagnostics>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod parse;

mod admission;
mod api_json;
mod places;

mod blocks;

pub use admission::{Checked, admission_diagnostics, check};
pub use api_json::parse_api_json;
pub use orch_hcl::{Diagnostic, Diagnostics, FileAccess, Severity, Source, Span};
pub use parse::{ParseOptions, Parsed, Partial, Variables, parse, parse_lenient};
pub use places::Places;
