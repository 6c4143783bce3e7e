//! Expressions inside a job, and variables from every source.

use orch_jobspec::{FileAccess, ParseOptions, Source, Variables, parse};

use super::{errors, job};

const PRELUDE: &str = "variable \"n\" {\n type = number\n default = 3\n}\nvariable \"env\" {\n default = \"dev\"\n}\n\
    variable \"tags\" {\n type = list(string)\n default = [\"a\", \"b\"]\n}\nlocals {\n img = \"app:${var.env}\"\n}\n";

fn with_meta(expression: &str) -> String {
    format!("{PRELUDE}job \"j\" {{\n meta {{\n x = {expression}\n }}\n}}\n")
}

#[test]
fn expressions_evaluate_and_runtime_names_stay_as_they_are() {
    for (expression, expected) in [
        (r#""${var.env}-${attr.kernel.name}""#, "dev-${attr.kernel.name}"),
        ("local.img", "app:dev"),
        (r#""${local.img}""#, "app:dev"),
        ("var.n + 1", "4"),
        (r#""${var.n}""#, "3"),
        ("NOMAD_PORT_http", "${NOMAD_PORT_http}"),
        (r#""${NOMAD_ADDR_http}""#, "${NOMAD_ADDR_http}"),
        (r#""${env["HOME"]}""#, r#"${env["HOME"]}"#),
        (r#""${meta.rack}""#, "${meta.rack}"),
        (r#""${ meta.rack }""#, "${ meta.rack }"),
        (r#""${upper(node.class)}""#, "${NODE.CLASS}"),
        (r#""${node.class == "x" ? "a" : "b"}""#, "b"),
        (r#""$${var.env}""#, "${var.env}"),
        (r#""%%{if}""#, "%{if}"),
        (r#""%{ if var.env == "dev" }x%{ else }y%{ endif }""#, "x"),
        (r#"join(",", [for t in var.tags : upper(t)])"#, "A,B"),
        (r#"join(",", concat(var.tags, ["c"]))"#, "a,b,c"),
        ("index(var.tags, 1)", "b"),
        (r#"format("%s-%02d", var.env, var.n)"#, "dev-03"),
        ("jsonencode({a=1})", r#"{"a":1}"#),
        (r#"cidrhost("10.0.0.0/24", 5)"#, "10.0.0.5"),
        (r#"reverse("abc")"#, "cba"),
        ("<<EOH\n{{ key \"x\" }} ${var.env}\nEOH", "{{ key \"x\" }} dev\n"),
        ("<<-EOH\n    a\n      b\n    EOH", "a\n  b\n"),
    ] {
        assert_eq!(job(&with_meta(expression)).meta["x"], expected, "{expression}");
    }
    let as_map = format!("{PRELUDE}job \"j\" {{\n meta = {{ for i, t in var.tags : t => i }}\n}}\n");
    assert_eq!(job(&as_map).meta, [("a".to_owned(), "0".to_owned()), ("b".to_owned(), "1".to_owned())].into());
    assert_eq!(job("job \"j\" {\n group \"g\" {\n count = \"3\"\n }\n}\n").task_groups[0].count, 3);
}

#[test]
fn wrong_expressions_are_errors_at_their_place() {
    for (expression, message) in [
        (r#"nosuch("x")"#, "17:6: error: "),
        ("var.missing", "17:9: error: "),
        ("local.missing", "17:11: error: "),
        (r#"file("/etc/hostname")"#, "filesystem function disabled"),
        (r#""unterminated ${"#, "error: "),
    ] {
        let found = errors(&with_meta(expression));
        assert!(found.contains(message), "{expression}: {found}");
    }
    assert!(
        errors("job \"j\" {\n group \"g\" {\n count = 2.5\n }\n}\n")
            .contains("3:10: error: `count` must be a whole number")
    );
}

fn with_variables(variables: Variables) -> Result<String, String> {
    let text = "variable \"a\" {\n default = \"default\"\n}\njob \"j\" {\n meta {\n x = var.a\n }\n}\n";
    let options = ParseOptions { variables, file_access: FileAccess::Disabled };
    match parse(Source::new("job.hcl", text), &options) {
        Ok(parsed) => Ok(parsed.job.meta["x"].clone()),
        Err(diagnostics) => Err(diagnostics.to_vec()[0].summary()),
    }
}

#[test]
fn stronger_sources_of_variables_win() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut variables = Variables::default();
    assert_eq!(with_variables(variables.clone()).unwrap(), "default");
    variables.environment = vec![pair("a", "environment"), pair("undeclared", "x")];
    assert_eq!(with_variables(variables.clone()).unwrap(), "environment");
    variables.files = vec![Source::new("one.hcl", "a = \"one\"\n"), Source::new("two.json", "{\"a\": \"two\"}")];
    assert_eq!(with_variables(variables.clone()).unwrap(), "two");
    variables.flags = vec![pair("a", "flag")];
    assert_eq!(with_variables(variables.clone()).unwrap(), "flag");

    variables.files = vec![Source::new("three.hcl", "a = \"x\"\nb = 1\n")];
    assert!(with_variables(variables.clone()).unwrap_err().starts_with("three.hcl:2:1: error: "));
    variables.allow_undeclared = true;
    assert_eq!(with_variables(variables.clone()).unwrap(), "flag");
    variables.files = vec![Source::new("broken.hcl", "a = \n")];
    assert!(with_variables(variables).unwrap_err().starts_with("broken.hcl:1:"));
}

#[test]
fn files_are_read_where_that_is_allowed() {
    let text = "job \"j\" {\n meta {\n x = trimspace(file(\"batch.hcl\"))\n }\n}\n";
    let base = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples").into();
    let options = ParseOptions { file_access: FileAccess::Base(base), ..ParseOptions::default() };
    let parsed = parse(Source::new("job.hcl", text), &options).unwrap();
    assert!(parsed.job.meta["x"].contains("job \"count\""));
}
