//! Bodies read with a schema, in both spellings.

use orch_hcl::{Diagnostics, Document, FileAccess, Labels, Scope, Source, UnknownRoots, parse};
use serde_json::json;

use super::{prelude, summaries};

fn document(text: &str) -> Document {
    parse(Source::new("t.hcl", text)).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

fn scope() -> Scope {
    Scope::new(UnknownRoots::KeepLiteral, FileAccess::Disabled)
}

#[test]
fn all_errors_of_a_document_are_found_in_one_pass() {
    let document = document(
        "count = 2.5\nenabled = \"maybe\"\nwait = \"1d\"\nnaem = \"x\"\nname = [1]\ngroup \"a\" \"b\" {}\ngroup {}\nupdate {}\nupdate {}\nports = {}\nzone {}\n",
    );
    let diagnostics = Diagnostics::new();
    let scope = scope();
    let mut body = document.reader(&scope, &diagnostics);
    assert_eq!(body.opt_i64("count"), None);
    assert_eq!(body.opt_bool("enabled"), None);
    assert_eq!(body.opt_duration_ns("wait"), None);
    assert_eq!(body.opt_string("name"), None);
    body.require_string("id");
    assert!(body.blocks_with("group", Labels::Exactly(&["name"])).is_empty());
    assert!(body.at_most_one("update").is_some());
    body.blocks("ports");
    body.opt_string("zone");
    body.finish();
    assert_eq!(
        summaries(&diagnostics),
        "t.hcl:1:9: error: `count` must be a whole number, not 2.5\n\
         t.hcl:2:11: error: `enabled` must be true or false, not \"maybe\"\n\
         t.hcl:3:8: error: `wait` must be a duration such as \"30s\": \"d\" in \"1d\" is not a unit of time; the units are ns, us, ms, s, m and h\n\
         t.hcl:5:8: error: `name` must be a string, not a list\n\
         t.hcl:1:1: error: the document needs `id`\n\
         t.hcl:6:1: error: `group` takes 1 label (name), not 2\n\
         t.hcl:7:1: error: `group` needs a label: its name\n\
         t.hcl:9:1: error: there may be only one `update` block in the document\n\
         t.hcl:4:1: error: the document has no attribute `naem`\n\
         t.hcl:10:1: error: `ports` is a block of the document, not an attribute\n\
         t.hcl:11:1: error: `zone` is an attribute of the document, not a block"
    );
    assert_eq!(diagnostics.to_vec()[8].help.as_deref(), Some("did you mean `name`?"));
}

#[test]
fn values_convert_to_what_is_asked_for() {
    let document = document(
        "count = \"3\"\nratio = 0.5\nname = 8080\non = \"true\"\nns = 30\nlist = [1, \"a\", true]\nnothing = null\n",
    );
    let diagnostics = Diagnostics::new();
    let scope = scope();
    let mut body = document.reader(&scope, &diagnostics);
    assert_eq!(body.opt_i64("count"), Some(3));
    assert_eq!(body.opt_f64("ratio"), Some(0.5));
    assert_eq!(body.opt_string("name").as_deref(), Some("8080"));
    assert_eq!(body.opt_bool("on"), Some(true));
    assert_eq!(body.opt_duration_ns("ns"), Some(30));
    assert_eq!(body.opt_string_list("list").unwrap(), ["1", "a", "true"]);
    assert_eq!(body.opt_string("nothing"), None);
    body.finish();
    assert!(diagnostics.is_empty(), "{diagnostics}");
}

#[test]
fn maps_are_blocks_or_attributes_but_not_both() {
    let document = document(
        "meta { PORT = 8080 }\nenv = { \"a.b\" = true }\nboth { a = 1 }\nboth = { a = 1 }\ntwice {}\ntwice {}\n",
    );
    let diagnostics = Diagnostics::new();
    let scope = scope();
    let mut body = document.reader(&scope, &diagnostics);
    assert_eq!(body.opt_string_map_or_block("meta").unwrap()["PORT"], "8080");
    assert_eq!(body.opt_string_map_or_block("env").unwrap()["a.b"], "true");
    assert_eq!(body.opt_string_map_or_block("absent"), None);
    body.opt_string_map_or_block("both");
    body.opt_string_map_or_block("twice");
    body.finish();
    assert_eq!(
        summaries(&diagnostics),
        "t.hcl:3:1: error: `both` is set twice, as attribute and as block\nt.hcl:6:1: error: `twice` is set twice"
    );
}

#[test]
fn dynamic_blocks_are_expanded_in_place_and_nested() {
    let document = document(
        r#"
port "first" { to = 1 }
dynamic "port" {
  for_each = ["http", "admin"]
  iterator = p
  labels   = [p.value]
  content { to = 8000 + p.key }
}
dynamic "service" {
  for_each = { web = ["a", "b"] }
  content {
    name = service.key
    dynamic "check" {
      for_each = service.value
      content { name = "${service.key}-${check.value}" }
    }
  }
}
"#,
    );
    let diagnostics = Diagnostics::new();
    let scope = scope();
    let mut body = document.reader(&scope, &diagnostics).with_dynamic_blocks();
    let ports: Vec<_> = body
        .blocks_with("port", Labels::Exactly(&["label"]))
        .iter()
        .map(|port| (port.label(0).to_owned(), port.reader().opt_i64("to").unwrap()))
        .collect();
    assert_eq!(ports, [("first".to_owned(), 1), ("http".to_owned(), 8000), ("admin".to_owned(), 8001)]);
    let mut service = body.at_most_one("service").unwrap().reader();
    assert_eq!(service.opt_string("name").as_deref(), Some("web"));
    let checks: Vec<_> =
        service.blocks("check").iter().map(|check| check.reader().opt_string("name").unwrap()).collect();
    assert_eq!(checks, ["web-a", "web-b"]);
    service.finish();
    body.finish();
    assert!(diagnostics.is_empty(), "{diagnostics}");
}

#[test]
fn a_wrong_dynamic_block_says_what_it_lacks() {
    let document = document(
        "dynamic \"a\" {\n content {}\n}\ndynamic \"a\" {\n for_each = 5\n content {}\n}\ndynamic \"a\" {\n for_each = []\n x = 1\n}\n",
    );
    let diagnostics = Diagnostics::new();
    let scope = scope();
    document.reader(&scope, &diagnostics).with_dynamic_blocks().blocks("a");
    assert_eq!(
        summaries(&diagnostics),
        "t.hcl:1:1: error: `dynamic \"a\"` needs `for_each`\n\
         t.hcl:5:13: error: `for_each` cannot go through a number\n\
         t.hcl:8:1: error: `dynamic \"a\"` needs a `content` block\n\
         t.hcl:10:2: error: `dynamic \"a\"` has no attribute `x`"
    );
}

#[test]
fn free_form_bodies_become_lists_of_maps() {
    let document = document(
        r#"
config {
  image  = "app:${var.env}"
  big    = 9223372036854775807
  half   = 0.5
  labels { a = "b" }
  mount { type = "bind" }
  mount { type = "tmpfs" }
  volume "x" "y" { ro = true }
  auth   = { user = "u" }
  list   = [{ a = 1 }]
  gone   = null
  dynamic "dev" {
    for_each = var.tags
    content { name = dev.value }
  }
}
"#,
    );
    let diagnostics = Diagnostics::new();
    let scope = prelude();
    let mut body = document.reader(&scope, &diagnostics).with_dynamic_blocks();
    let config = orch_hcl::Value::Map(body.opt_free_form("config").unwrap());
    assert_eq!(
        config.to_json(),
        json!({
            "image": "app:dev", "big": i64::MAX, "half": 0.5,
            "labels": [{"a": "b"}],
            "mount": [{"type": "bind"}, {"type": "tmpfs"}],
            "volume": [{"x": [{"y": [{"ro": true}]}]}],
            "auth": [{"user": "u"}],
            "list": [{"a": 1}],
            "dev": [{"name": "a"}, {"name": "b"}],
        })
    );
    body.finish();
    assert!(diagnostics.is_empty(), "{diagnostics}");
}

#[test]
fn the_json_spelling_reads_like_the_native_one() {
    let document = document(
        r#" {
  "//": "a comment",
  "job": { "web": {
    "count": "${var.n + 1}",
    "meta": { "a.b": "x" },
    "update": [{ "max": 1 }],
    "host": "${attr.unique.hostname}",
    "group": [ { "a": { "size": 1 } }, { "b": [ { "size": 2 }, { "size": 3 } ] } ],
    "config": { "labels": { "k": "v" }, "ports": ["http"] }
  } }
}"#,
    );
    let diagnostics = Diagnostics::new();
    let scope = prelude();
    let mut top = document.reader(&scope, &diagnostics);
    let jobs = top.blocks_with("job", Labels::Exactly(&["name"]));
    assert_eq!(jobs.len(), 1);
    let mut job = jobs[0].reader();
    assert_eq!((jobs[0].label(0), job.opt_i64("count")), ("web", Some(4)));
    assert_eq!(job.opt_string("host").as_deref(), Some("${attr.unique.hostname}"));
    assert_eq!(job.opt_string_map_or_block("meta").unwrap()["a.b"], "x");
    assert_eq!(job.at_most_one("update").unwrap().reader().opt_i64("max"), Some(1));
    let groups: Vec<_> = job
        .blocks_with("group", Labels::Exactly(&["name"]))
        .iter()
        .map(|group| (group.label(0).to_owned(), group.reader().opt_i64("size").unwrap()))
        .collect();
    assert_eq!(groups, [("a".to_owned(), 1), ("b".to_owned(), 2), ("b".to_owned(), 3)]);
    let config = orch_hcl::Value::Map(job.opt_free_form("config").unwrap());
    assert_eq!(config.to_json(), json!({"labels": [{"k": "v"}], "ports": ["http"]}));
    job.finish();
    top.finish();
    assert!(diagnostics.is_empty(), "{diagnostics}");
}

#[test]
fn dynamic_blocks_work_in_json() {
    let document = document(
        r#"{"dynamic": {"port": {"for_each": ["a", "b"], "labels": ["${port.value}"], "content": {"to": "${port.key + 1}"}}}}"#,
    );
    let diagnostics = Diagnostics::new();
    let scope = scope();
    let mut top = document.reader(&scope, &diagnostics).with_dynamic_blocks();
    let ports: Vec<_> = top
        .blocks_with("port", Labels::Exactly(&["label"]))
        .iter()
        .map(|port| (port.label(0).to_owned(), port.reader().opt_i64("to")))
        .collect();
    top.finish();
    assert!(diagnostics.is_empty(), "{diagnostics}");
    assert_eq!(ports, [("a".to_owned(), Some(1)), ("b".to_owned(), Some(2))]);
}

#[test]
fn json_errors_are_located_at_their_values() {
    let document = document("{\n  \"count\": \"${1 / 0}\",\n  \"cuont\": 1,\n  \"name\": {}\n}");
    let diagnostics = Diagnostics::new();
    let scope = scope();
    let mut top = document.reader(&scope, &diagnostics);
    top.opt_i64("count");
    top.opt_string("name");
    top.finish();
    assert_eq!(
        summaries(&diagnostics),
        "t.hcl:2:12: error: division by zero\n\
         t.hcl:4:11: error: `name` must be a string, not a map\n\
         t.hcl:3:3: error: the document has no attribute or block `cuont`"
    );
}

#[test]
fn an_optional_label_may_be_left_out_in_both_spellings() {
    for text in ["vault \"a\" {\n x = 1\n}\nvault {\n x = 2\n}\n", "{\"vault\": [{\"a\": {\"x\": 1}}, {\"x\": 2}]}"] {
        let document = document(text);
        let diagnostics = Diagnostics::new();
        let scope = scope();
        let mut top = document.reader(&scope, &diagnostics);
        let blocks = top.blocks_with("vault", Labels::Optional("name"));
        let found: Vec<_> = blocks.iter().map(|b| (b.label(0).to_owned(), b.reader().opt_i64("x"))).collect();
        assert!(diagnostics.is_empty(), "{text}: {diagnostics}");
        assert_eq!(found, [("a".to_owned(), Some(1)), (String::new(), Some(2))], "{text}");
    }
}
