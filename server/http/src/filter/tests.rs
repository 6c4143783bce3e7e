use serde_json::{Value, json};

use super::Filter;
use crate::limits;

fn job() -> Value {
    json!({
        "ID": "web", "Type": "service", "Priority": 50, "Stop": false, "Weight": 0.5,
        "Datacenters": ["dc1", "dc2"], "Meta": { "owner": "ops", "a.b": "1" }, "Payload": null,
        "TaskGroups": [
            { "Name": "front", "Count": 2, "Tasks": [{ "Name": "app", "Driver": "docker" }] },
            { "Name": "back", "Count": 1, "Tasks": [{ "Name": "db", "Driver": "raw_exec" }] },
        ],
    })
}

fn holds(text: &str) -> Result<bool, String> {
    Filter::parse(text).and_then(|filter| filter.matches(&job(), &["NodeID", "ID"])).map_err(|error| error.to_string())
}

#[test]
fn every_form_of_comparison_holds_or_does_not() {
    for (text, expected) in [
        (r#"ID == "web""#, true),
        (r#"ID != "web""#, false),
        ("ID==`web`", true),
        ("ID == web", true),
        ("Priority == 50", true),
        (r#"Priority == "50""#, true),
        ("Priority != 51", true),
        ("Weight == 0.5", true),
        ("Stop == false", true),
        ("Payload is empty", true),
        ("Meta is not empty", true),
        (r#"Meta["owner"] == "ops""#, true),
        ("Meta.owner == ops", true),
        (r#"Meta["a.b"] == 1"#, true),
        (r#""/Meta/owner" == "ops""#, true),
        (r#"Meta["none"] is empty"#, true),
        (r#""dc1" in Datacenters"#, true),
        (r#""dc3" not in Datacenters"#, true),
        (r#""owner" in Meta"#, true),
        (r#"ID contains "eb""#, true),
        (r#"ID not contains "x""#, true),
        ("Datacenters contains dc2", true),
        (r#"ID matches "^w.b$""#, true),
        (r#"ID not matches "^x""#, true),
        ("TaskGroups.0.Name == front", true),
        (r#"NodeID == """#, true),
        ("NodeID is empty", true),
        (r#"any TaskGroups as g { g.Name == "back" }"#, true),
        (r#"all TaskGroups as g { g.Count == 2 }"#, false),
        (r#"any TaskGroups as i, g { i == 1 and g.Name == "back" }"#, true),
        (r#"any TaskGroups as g { any g.Tasks as t { t.Driver == "docker" and g.Count == 2 } }"#, true),
        (r#"any Meta as k { k == "owner" }"#, true),
        (r#"any Meta as _, v { v == "ops" }"#, true),
        (r#"all Meta as k, _ { k matches "^[a-z.]+$" }"#, true),
    ] {
        assert_eq!(holds(text), Ok(expected), "{text}");
    }
}

#[test]
fn not_binds_tighter_than_and_which_binds_tighter_than_or() {
    for (text, expected) in [
        ("ID == web or ID == x and ID == y", true),
        ("(ID == web or ID == x) and ID == y", false),
        ("not ID == x and ID == web", true),
        ("not (ID == web or ID == x)", false),
        ("not not ID == web", true),
        ("  ID == web  ", true),
    ] {
        assert_eq!(holds(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_expression_is_told_with_its_place() {
    for text in ["", "ID", "ID ==", "ID = web", "ID == \"web", "(ID == web", "ID == web and", "any X as { }", "ID is x"]
    {
        let error = holds(text).unwrap_err();
        assert!(error.starts_with("failed to create result paginator: failed to read filter expression: "), "{error}");
    }
    assert!(holds("ID == web )").unwrap_err().contains("near \")\""), "{:?}", holds("ID == web )"));
    assert!(holds("ID matches \"(\"").unwrap_err().contains("regular expression"));
}

#[test]
fn a_field_that_does_not_exist_is_an_error() {
    let error = holds("Nmae == x").unwrap_err();
    assert_eq!(error, "error finding value in datum: /Nmae: there is no field \"Nmae\"");
    assert!(holds("ID.Deep == x").is_err());
    assert!(holds("any ID as x { x == y }").is_err());
}

#[test]
fn length_and_depth_are_bounded() {
    let deep = format!("{}ID == web{}", "(".repeat(10_000 / 4), ")".repeat(10_000 / 4));
    assert!(holds(&deep).unwrap_err().contains("nests less deeply"));
    let nots = format!("{}ID == web", "not ".repeat(limits::FILTER_DEPTH + 1));
    assert!(holds(&nots).unwrap_err().contains("nests less deeply"));
    assert!(holds(&"x".repeat(limits::FILTER_BYTES + 1)).unwrap_err().contains("more than"));
    let chain = vec!["ID == web"; 500].join(" and ");
    assert_eq!(holds(&chain), Ok(true), "a long chain is not a deep one");
    assert!(holds("ID matches \"(a{1000}){1000}\"").unwrap_err().contains("regular expression"));
}

#[test]
fn no_text_makes_the_reader_panic() {
    let pieces = [
        "(",
        ")",
        "{",
        "}",
        "not ",
        "any ",
        "as ",
        "x",
        "==",
        "\"",
        "`",
        "\\",
        "[",
        "]",
        ",",
        ".",
        " in ",
        "é",
        "/",
        " is empty",
        " and ",
    ];
    let mut seed = orch_model::seed::Seed::new(7);
    for _ in 0..20_000 {
        let length = seed.below(12);
        let mut piece = || pieces[usize::try_from(seed.below(pieces.len() as u64)).unwrap()];
        let text: String = (0..length).map(|_| piece()).collect();
        drop(holds(&text));
    }
}
