//! What documents evaluate and decode to, and what is said about those that do not.
#![allow(clippy::unwrap_used, reason = "tests")]

mod decoding;
mod expressions;
mod functions;
mod hostile;
mod messages;
mod variables;

use orch_hcl::{Diagnostics, FileAccess, Scope, Source, UnknownRoots, Value, VariableInputs, parse, resolve_variables};

const PRELUDE: &str = r#"
variable "n" {
  type    = number
  default = 3
}
variable "env" {
  default = "dev"
}
variable "tags" {
  type    = list(string)
  default = ["a", "b"]
}
locals {
  img = "app:${var.env}"
}
"#;

/// The scope of the prelude's variables and locals.
fn prelude() -> Scope {
    let document = parse(Source::new("prelude.hcl", PRELUDE)).unwrap();
    let diagnostics = Diagnostics::new();
    let scope = Scope::new(UnknownRoots::KeepLiteral, FileAccess::Disabled);
    let mut top = document.reader(&scope, &diagnostics);
    let scope = resolve_variables(&mut top, &VariableInputs::default());
    assert!(diagnostics.is_empty(), "{diagnostics}");
    scope.unwrap()
}

/// The value of the attribute `x` of a document, or the first line of each finding.
fn evaluate_in(scope: &Scope, text: &str) -> Result<Value, String> {
    let document = parse(Source::new("t.hcl", text)).map_err(|diagnostics| summaries(&diagnostics))?;
    let diagnostics = Diagnostics::new();
    let value = document.reader(scope, &diagnostics).opt_value("x");
    if diagnostics.is_empty() { Ok(value.unwrap_or(Value::Null)) } else { Err(summaries(&diagnostics)) }
}

fn evaluate(expression: &str) -> Result<Value, String> {
    evaluate_in(&prelude(), &format!("x = {expression}\n"))
}

fn summaries(diagnostics: &Diagnostics) -> String {
    diagnostics.to_vec().iter().map(orch_hcl::Diagnostic::summary).collect::<Vec<_>>().join("\n")
}

/// Checks a table of expressions against JSON.
fn check(table: &[(&str, serde_json::Value)]) {
    for (expression, expected) in table {
        let value = evaluate(expression).unwrap_or_else(|message| panic!("{expression}: {message}"));
        assert_eq!(&value.to_json(), expected, "{expression}");
    }
}

/// Checks that expressions fail with a message that contains a text.
fn check_errors(table: &[(&str, &str)]) {
    for (expression, expected) in table {
        let message = evaluate(expression).expect_err(expression);
        assert!(message.contains(expected), "{expression}: {message}");
    }
}
