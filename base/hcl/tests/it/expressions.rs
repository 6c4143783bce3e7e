//! The expression language.

use serde_json::json;

use super::{check, check_errors, evaluate, evaluate_in, prelude};

#[test]
fn the_dialect_evaluates_as_documented() {
    check(&[
        (r#""${var.env}-${attr.kernel.name}""#, json!("dev-${attr.kernel.name}")),
        ("local.img", json!("app:dev")),
        (r#""${local.img}""#, json!("app:dev")),
        ("var.n + 1", json!(4)),
        ("NOMAD_PORT_http", json!("${NOMAD_PORT_http}")),
        (r#""${NOMAD_ADDR_http}""#, json!("${NOMAD_ADDR_http}")),
        (r#""${env["HOME"]}""#, json!(r#"${env["HOME"]}"#)),
        (r#"env["HOME"]"#, json!(r#"${env["HOME"]}"#)),
        (r#""${meta.rack}""#, json!("${meta.rack}")),
        (r#""${ x.y }""#, json!("${ x.y }")),
        (r#""a ${ x.y } b""#, json!("a ${ x.y } b")),
        (r#""${NOMAD_META_foo-bar}""#, json!("${NOMAD_META_foo-bar}")),
        ("attr.kernel.name", json!("${attr.kernel.name}")),
        (r#""${upper(node.class)}""#, json!("${NODE.CLASS}")),
        (r#""${node.class == "x" ? "a" : "b"}""#, json!("b")),
        (r#""$${var.env}""#, json!("${var.env}")),
        (r#""%%{if}""#, json!("%{if}")),
        (r#""%{ if var.env == "dev" }x%{ else }y%{ endif }""#, json!("x")),
        ("[for t in var.tags : upper(t)]", json!(["A", "B"])),
        ("{ for i, t in var.tags : t => i }", json!({"a": 0, "b": 1})),
        (r#"concat(var.tags, ["c"])"#, json!(["a", "b", "c"])),
        ("index(var.tags, 1)", json!("b")),
        (r#"format("%s-%02d", var.env, var.n)"#, json!("dev-03")),
        ("jsonencode({a=1})", json!("{\"a\":1}")),
        (r#"cidrhost("10.0.0.0/24", 5)"#, json!("10.0.0.5")),
        (r#"reverse("abc")"#, json!("cba")),
    ]);
    check_errors(&[
        (r#"nosuch("x")"#, "t.hcl:1:5: error: there is no function named `nosuch`"),
        ("var.missing", "there is no `missing` in this object"),
        ("\"unterminated ${", "this string is never closed"),
    ]);
}

#[test]
fn numbers_strings_and_bools_convert_in_operators() {
    check(&[
        (r#""5" + 1"#, json!(6)),
        ("7 / 2", json!(3.5)),
        ("6 / 2", json!(3)),
        ("-7 % 3", json!(-1)),
        ("2 + 3 * 4 - 1", json!(13)),
        ("(2 + 3) * -4", json!(-20)),
        (r#""1" == 1"#, json!(false)),
        ("1 == 1.0", json!(true)),
        (r#""10" > 9"#, json!(true)),
        (r#"!"false""#, json!(true)),
        ("true ? 1 : \"a\"", json!("1")),
        ("true ? 1 : 2", json!(1)),
        ("upper(5)", json!("5")),
        ("9223372036854775807", json!(9_223_372_036_854_775_807_i64)),
        ("9223372036854775807 - 1", json!(9_223_372_036_854_775_806_i64)),
        (r#""${9223372036854775807 + 1}""#, json!(9_223_372_036_854_775_808.0)),
        (r#""n=${9223372036854775807 + 1}""#, json!("n=9223372036854775808")),
    ]);
    check_errors(&[
        ("1 / 0", "t.hcl:1:5: error: division by zero"),
        ("1 % 0", "division by zero"),
        (r#""x" + 1"#, "`+` needs a number, this is the string \"x\""),
        ("[1] == [1] ? 1 / 0 : 2", "division by zero"),
        ("1 && true", "`&&` needs a bool, this is a number"),
        ("170141183460469231731687303715884105727 + 1", "too large"),
    ]);
}

#[test]
fn logic_and_conditionals_evaluate_only_what_decides() {
    check(&[
        ("false && 1 / 0 > 1", json!(false)),
        ("true || 1 / 0 > 1", json!(true)),
        ("true ? 1 : 1 / 0", json!(1)),
        ("try(1 / 0, var.nope, 7)", json!(7)),
        ("can(1 / 0)", json!(false)),
        ("can(var.n)", json!(true)),
        (r#"convert("5", number)"#, json!(5)),
        (r#"convert(["b", "a", "b"], set(string))"#, json!(["a", "b"])),
        (r#"convert({ a = 1 }, object({ a = string, b = optional(number, 4) }))"#, json!({"a": "1", "b": 4})),
    ]);
}

#[test]
fn collections_are_indexed_splatted_and_iterated() {
    check(&[
        ("var.tags[1]", json!("b")),
        ("var.tags.0", json!("a")),
        (r#"{ a = { b = [1, 2] } }.a["b"][1]"#, json!(2)),
        ("[{ a = 1 }, { a = 2 }][*].a", json!([1, 2])),
        ("[{ a = [1] }, { a = [2] }].*.a[0]", json!([1])),
        ("[{ a = [1] }, { a = [2] }][*].a[0]", json!([1, 2])),
        ("null[*]", json!([])),
        ("5[*]", json!([5])),
        ("[for k, v in { b = 1, a = 2 } : \"${k}${v}\" if v > 0]", json!(["a2", "b1"])),
        (r#"{ for s in ["ab", "ac", "b"] : substr(s, 0, 1) => s... }"#, json!({"a": ["ab", "ac"], "b": ["b"]})),
        (r#"{ (var.env) = 1, "x-${var.n}" = 2, k : 3 }"#, json!({"dev": 1, "x-3": 2, "k": 3})),
        ("max([1, 5, 3]...)", json!(5)),
        ("[for t in var.tags : t if t != attr.x]", json!(["a", "b"])),
    ]);
    check_errors(&[
        ("var.tags[2]", "there is no element 2: the list has 2"),
        ("var.n.x", "a number has no attributes"),
        (r#"{ for s in ["a", "a"] : s => 1 }"#, "two elements have the same key \"a\""),
        ("[for x in 5 : x]", "`for` cannot go through a number"),
        (r#""a${var.tags}""#, "a list cannot be part of a string"),
    ]);
}

#[test]
fn templates_have_directives_and_trim_markers() {
    check(&[
        (r#""%{ for t in var.tags }<${t}>%{ endfor }""#, json!("<a><b>")),
        (r#""%{ for i, t in var.tags ~}  ${i}=${t};  %{~ endfor }""#, json!("0=a;1=b;")),
        (r#""a  ${~ var.n ~}  b""#, json!("a3b")),
        (r#""%{ if false }x%{ endif }-""#, json!("-")),
        (r#""a %{~ if true ~} x %{~ else ~} y %{~ endif ~} b""#, json!("axb")),
        (r#""tab\tquote\"u\u00e9""#, json!("tab\tquote\"ué")),
    ]);
}

#[test]
fn heredocs_keep_go_templates_and_lose_their_indentation() {
    let text = "x = <<EOH\n{{ key \"x\" }} ${var.env} ${attr.a} $${b}\nEOH\n";
    assert_eq!(evaluate_in(&prelude(), text).unwrap().as_str(), Some("{{ key \"x\" }} dev ${attr.a} ${b}\n"));
    let text = "x = <<-EOH\n    one\n      two ${var.env}\n    three\n  EOH\n";
    assert_eq!(evaluate_in(&prelude(), text).unwrap().as_str(), Some("one\n  two dev\nthree\n"));
    let text = "x = <<-EOH\n    %{ for t in var.tags ~}\n    - ${t}\n    %{ endfor ~}\n    EOH\n";
    assert_eq!(evaluate_in(&prelude(), text).unwrap().as_str(), Some("- a\n- b\n"));
    assert_eq!(evaluate("[<<A\nx\nA\n, 1]").unwrap().to_json(), json!(["x\n", 1]));
}
