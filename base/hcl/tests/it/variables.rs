//! Variables and locals.

use orch_hcl::{Diagnostics, FileAccess, Scope, Source, UnknownRoots, VariableInputs, parse, resolve_variables};
use serde_json::{Value, json};

use super::summaries;

/// `var` and `local` of a document, or its findings.
fn resolve(text: &str, inputs: &VariableInputs) -> Result<(Value, Value), String> {
    let document = parse(Source::new("t.hcl", text)).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let diagnostics = Diagnostics::new();
    let scope = Scope::new(UnknownRoots::KeepLiteral, FileAccess::Disabled);
    let mut top = document.reader(&scope, &diagnostics);
    let scope = resolve_variables(&mut top, inputs);
    top.finish();
    match scope {
        Some(scope) => Ok((scope.get("var").unwrap().to_json(), scope.get("local").unwrap().to_json())),
        None => Err(summaries(&diagnostics)),
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn later_sources_win_and_values_take_the_declared_type() {
    let text = "variable \"a\" {\n default = \"d\"\n}\nvariable \"n\" {\n type = number\n}\nvariable \"l\" {\n type = list(string)\n}\nvariables {\n  short = 1\n flag = false\n}\n";
    let file = |text: &str| parse(Source::new("vars.hcl", text)).unwrap();
    let inputs = VariableInputs {
        environment: vec![pair("a", "env"), pair("n", "1"), pair("PATH", "ignored"), pair("flag", "true")],
        files: vec![file("a = \"file\"\nl = [1]\n"), file("{\"n\": 5}")],
        flags: vec![pair("l", "[\"x\", 2]"), pair("short", "7")],
        allow_undeclared: false,
    };
    let (var, _) = resolve(text, &inputs).unwrap();
    assert_eq!(var, json!({"a": "file", "n": 5, "l": ["x", "2"], "short": 7, "flag": true}));
}

#[test]
fn wrong_values_and_declarations_are_all_reported() {
    let text = "variable \"unset\" {}\nvariable \"n\" {\n type = number\n default = \"x\"\n}\nvariable \"n\" {}\nvariable \"t\" {\n type = lst(string)\n default = 1\n}\n";
    let inputs = VariableInputs { flags: vec![pair("unste", "1")], ..VariableInputs::default() };
    assert_eq!(
        resolve(text, &inputs).unwrap_err(),
        "t.hcl:4:12: error: the default does not fit the type: a number is needed, this is a string\n\
         t.hcl:6:1: error: the variable `n` is declared twice\n\
         t.hcl:8:9: error: `lst` is not a type\n\
         -var unste:1:1: error: a value is given for `unste`, but no such variable is declared\n\
         t.hcl:1:1: error: Unset variable: `unset` has neither a value nor a default"
    );
    let inputs = VariableInputs { allow_undeclared: true, ..inputs };
    assert!(resolve("", &inputs).is_ok());
}

#[test]
fn variable_files_hold_values_only() {
    let file = parse(Source::new("v.hcl", "variable \"x\" {}\ny = 1\n")).unwrap();
    let inputs = VariableInputs { files: vec![file], ..VariableInputs::default() };
    assert_eq!(
        resolve("", &inputs).unwrap_err(),
        "v.hcl:2:1: error: a value is given for `y`, but no such variable is declared\n\
         v.hcl:1:1: error: variables are declared in the job file; a variable file only holds `name = value`"
    );
}

#[test]
fn validations_look_at_their_own_variable() {
    let text = |condition: &str| {
        format!(
            "variable \"n\" {{\n default = 5\n validation {{\n  condition = {condition}\n  error_message = \"too large\"\n }}\n}}\n"
        )
    };
    let inputs = VariableInputs::default();
    assert!(resolve(&text("var.n < 10"), &inputs).is_ok());
    assert!(resolve(&text("var.n < 3"), &inputs).unwrap_err().contains("the value of `n` is not valid: too large"));
    assert!(resolve(&text("true"), &inputs).unwrap_err().contains("must refer to `var.n`"));
    assert!(resolve(&text("var.n < var.m"), &inputs).unwrap_err().contains("there is no `m` in this object"));
}

#[test]
fn locals_come_in_any_order_and_circles_are_errors() {
    let inputs = VariableInputs::default();
    let (_, local) =
        resolve("locals {\n a = \"${local.b}!\"\n c = [local.a]\n}\nlocals {\n b = attr.x\n}\n", &inputs).unwrap();
    assert_eq!(local, json!({"a": "${attr.x}!", "b": "${attr.x}", "c": ["${attr.x}!"]}));
    let message = resolve("locals {\n a = local.b\n b = local.c\n c = local.b\n}\n", &inputs).unwrap_err();
    assert_eq!(message, "t.hcl:3:2: error: locals depend on each other in a circle: local.b → local.c → local.b");
    assert!(resolve("locals {\n a = local.nope\n}\n", &inputs).unwrap_err().contains("there is no `nope`"));
    assert!(resolve("locals {\n a = 1\n}\nlocals {\n a = 2\n}\n", &inputs).unwrap_err().contains("set twice"));
}
