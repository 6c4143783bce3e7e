//! What syntax errors look like.

use orch_hcl::{Source, parse};

fn message(text: &str) -> String {
    parse(Source::new("web.hcl", text)).expect_err(text).to_string()
}

#[test]
fn syntax_errors_show_place_line_and_advice() {
    for (text, expected) in [
        (
            "job \"web\" {\n  group \"a\" {\n    count = 1\n}\n",
            "web.hcl:1:11: error: this `{` is never closed\n  job \"web\" {\n            ^\n  help: add the missing `}`",
        ),
        (
            "a = 1\nname = \"web\nb = 2\n",
            "web.hcl:2:8: error: this string is never closed\n  name = \"web\n         ^\n  help: end it with `\"` on the same line, or use a heredoc (`<<EOF`) for several lines",
        ),
        (
            "meta {\n  \"a.b\" = \"x\"\n}\n",
            "web.hcl:2:3: error: a quoted key cannot stand in a block\n    \"a.b\" = \"x\"\n    ^^^^^\n  help: use a map instead: `meta = { \"a.b\" = \"x\" }`",
        ),
        (
            "x = <<EOF\nabc\n",
            "web.hcl:1:5: error: this heredoc is never closed: no line holds only `EOF`\n  x = <<EOF\n      ^^^^^",
        ),
        ("x = [1, 2}\n", "web.hcl:1:10: error: `]` is expected here, not `}`\n  x = [1, 2}\n           ^"),
        (
            "x = \"a\\$b\"\n",
            "web.hcl:1:7: error: `\\$` is not an escape sequence\n  x = \"a\\$b\"\n        ^\n  help: write `\\\\` for a backslash, and `$${` for a literal `${`",
        ),
        (
            "group \"a\" { task \"b\" { x = 1 } }\n",
            "web.hcl:1:18: error: `=` is expected here, not `\"`\n  group \"a\" { task \"b\" { x = 1 } }\n                   ^\n  help: a block on one line cannot hold another block; write each on lines of its own",
        ),
        (
            "job \"a\" {\n  x = [\n    1\n  y = 3\n}\n",
            "web.hcl:2:7: error: this `[` is never closed\n    x = [\n        ^\n  help: add the missing `]`",
        ),
        ("/* abc\n", "web.hcl:1:1: error: this comment is never closed\n  /* abc\n  ^^\n  help: end it with `*/`"),
        ("a\0b\n", "web.hcl:1:2: error: the text contains a NUL byte\n  a\u{fffd}b\n   ^"),
    ] {
        assert_eq!(message(text), expected);
    }
}

#[test]
fn independent_syntax_errors_are_reported_together() {
    let text = message("a = 'x'\nb = 1\nc: 2\nmeta {\n  \"k\" = 1\n}\n");
    let places: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("web.hcl:")).map(|l| &l[..3]).collect();
    assert_eq!(places, ["1:5", "3:2", "5:3"], "{text}");
    assert!(text.contains("strings are written in double quotes"), "{text}");
}

#[test]
fn duplicates_and_bad_json_are_located() {
    assert!(message("a = 1\na = 2\n").contains("web.hcl:2:"), "{}", message("a = 1\na = 2\n"));
    assert!(message("{\"a\": 1,}").starts_with("web.hcl:1:9: error: invalid JSON: a name in double quotes"));
    assert!(message("{\"a\": \"x}").contains("this string is never closed"));
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_no_errors() {
    assert!(parse(Source::new("a", "\u{feff}a = 1\r\nb {\r\n  c = \"x\"\r\n}\r\n")).is_ok());
}
