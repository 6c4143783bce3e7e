//! Input made to hurt: it gives an error, in bounded time, memory and stack.

use orch_hcl::{Diagnostics, FileAccess, Scope, Source, UnknownRoots, VariableInputs, parse, resolve_variables};
use proptest::prelude::*;

use super::evaluate;

/// Parses and reads everything there is; whether it succeeds does not matter.
fn exercise(text: &str) -> Result<(), String> {
    let document = parse(Source::new("t.hcl", text)).map_err(|diagnostics| diagnostics.to_string())?;
    let diagnostics = Diagnostics::new();
    let scope = Scope::new(UnknownRoots::KeepLiteral, FileAccess::Disabled);
    let mut top = document.reader(&scope, &diagnostics).with_dynamic_blocks();
    if let Some(scope) = resolve_variables(&mut top, &VariableInputs::default()) {
        let mut top = document.reader(&scope, &diagnostics).with_dynamic_blocks();
        for (_, attribute) in top.attributes() {
            if let Err(diagnostic) = attribute.expr.evaluate(&scope) {
                diagnostics.push(*diagnostic);
            }
        }
        for block in top.blocks("config") {
            block.to_free_form();
        }
        top.finish();
    }
    if diagnostics.has_errors() { Err(diagnostics.to_string()) } else { Ok(()) }
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [
        ("[", "]"),
        ("(", ")"),
        ("{ a = ", "}"),
        ("upper(", ")"),
        ("\"${", "}\""),
        ("[for x in ", ": x]"),
        ("!", ""),
        ("-", ""),
    ] {
        let text = format!("x = {}1{}\n", open.repeat(20_000), close.repeat(20_000));
        assert!(exercise(&text).is_err(), "{open}");
    }
    let blocks = format!("{}{}", "a {\n".repeat(20_000), "}\n".repeat(20_000));
    assert!(exercise(&blocks).is_err());
    let json = format!("{{\"a\": {}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert!(exercise(&json).is_err());
    assert!(exercise(&format!("x = 1{}\n", " + 1".repeat(20_000))).is_err());
    assert!(exercise(&format!("x = {}1\n", "true ? 1 : ".repeat(20_000))).is_err());
}

#[test]
fn nesting_up_to_the_limit_fits_the_stack() {
    for (open, close) in [
        ("[", "]"),
        ("(", ")"),
        ("{ a = ", "}"),
        ("upper(", ")"),
        ("try(", ")"),
        ("\"${", "}\""),
        ("\"-${", "}-\""),
        ("[for x in [1] : ", "]"),
        ("-", ""),
        ("true ? 1 : ", ""),
        ("1 + (", ")"),
        ("[0][", "]"),
        ("\"%{ if true }${", "}%{ endif }\""),
    ] {
        let deepest = (1..200).rev().find(|n| {
            let text = format!("x = {}0{}\n", open.repeat(*n), close.repeat(*n));
            !exercise(&text).is_err_and(|message| message.contains("nested deeper than 64"))
        });
        assert!(deepest.is_some_and(|n| n >= 15), "{open}: {deepest:?}");
    }
    assert!(exercise(&format!("x = 1{}\n", " + 1".repeat(128))).is_ok());
}

#[test]
fn values_that_grow_out_of_hand_are_refused() {
    let doubling: String =
        (1..40).map(|i| format!("  a{i} = \"${{local.a{p}}}${{local.a{p}}}\"\n", p = i - 1)).collect();
    assert!(
        exercise(&format!("locals {{\n  a0 = \"xxxxxxxxxxxxxxxx\"\n{doubling}}}\n")).unwrap_err().contains("too much")
    );
    let lists: String = (1..40).map(|i| format!("  a{i} = [local.a{p}, local.a{p}]\n", p = i - 1)).collect();
    assert!(exercise(&format!("locals {{\n  a0 = 1\n{lists}}}\n")).is_err());
    let deep: String = (1..400).map(|i| format!("  a{i} = [local.a{p}]\n", p = i - 1)).collect();
    assert!(exercise(&format!("locals {{\n  a0 = 1\n{deep}}}\n")).unwrap_err().contains("nested deeper"));
    let loops = "[for a in range(1000) : [for b in range(1000) : [for c in range(1000) : c]]]";
    assert!(evaluate(loops).unwrap_err().contains("too much"));
    let big = "join(\"\", [for i in range(1000) : join(\"\", [for j in range(1000) : \"0123456789\"])])";
    for call in [
        format!("replace({big}, \"0\", {big})"),
        format!("indent(1000000000, {big})"),
        "setproduct(range(1000), range(1000), range(1000))".to_owned(),
        format!("format(\"%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s\", {big})"),
        "regex_replace(\"aaaa\", \"((a{1000}){1000}){1000}\", \"\")".to_owned(),
    ] {
        assert!(evaluate(&call).is_err(), "{call}");
    }
    let blocks = "config {\n dynamic \"a\" {\n for_each = range(1000)\n content {\n dynamic \"b\" {\n for_each = range(1000)\n content {}\n}\n}\n}\n}\n";
    assert!(exercise(blocks).unwrap_err().contains("too much"));
}

#[test]
fn aliases_that_explode_are_refused() {
    let levels: String = (1..30).map(|i| format!("a{i}: &a{i} [*a{p}, *a{p}, *a{p}]\\n", p = i - 1)).collect();
    assert!(evaluate(&format!("yamldecode(\"a0: &a0 [1, 1]\\n{levels}\")")).is_err());
}

fn token() -> impl Strategy<Value = String> {
    let tokens = [
        "x",
        "a.b",
        "=",
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "\"",
        "\"a\"",
        "${",
        "%{",
        "%{ if true }",
        "%{ endif }",
        "<<E\n",
        "\nE\n",
        "\n",
        " ",
        ",",
        ":",
        "?",
        "...",
        "..",
        ".",
        "*",
        "[*]",
        "+",
        "-",
        "/",
        "%",
        "==",
        "&&",
        "!",
        "1",
        "0",
        "1e400",
        "9e18",
        "for",
        "in",
        "if",
        "null",
        "true",
        "locals",
        "variable \"v\" ",
        "dynamic \"d\" ",
        "config ",
        "for_each = ",
        "content ",
        "range(9)",
        "upper(",
        "format(",
        "try(",
        "é",
        "\u{feff}",
        "\r",
        "\t",
        "\\",
        "'",
        "#",
        "/*",
        "*/",
        "//",
        "~",
        "local.x",
        "var.v",
        "default = ",
        "type = ",
        "=>",
    ];
    prop::sample::select(tokens.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(source) = Source::from_bytes("x", &bytes) {
            let _ = exercise(source.text());
        }
    }

    #[test]
    fn random_token_soup_never_panics(tokens in prop::collection::vec(token(), 0..40)) {
        let text = tokens.concat();
        let _ = exercise(&text);
        let _ = exercise(&format!("x = {text}\n"));
        let _ = exercise(&format!("{{\"x\": {}}}", serde_json::Value::from(text)));
    }
}
