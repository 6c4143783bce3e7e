//! Whatever the text, it gives a job or diagnostics.

use orch_jobspec::{ParseOptions, Source, check, parse_api_json};
use proptest::prelude::*;

use super::context;

const FULL: &str = include_str!("../ok/full.hcl");
const JSON: &str = include_str!("../ok/json_spelling.hcl");

fn exercise(text: &str) {
    let checked = check(Source::new("x.hcl", text), &ParseOptions::default(), &context());
    assert!(checked.parsed.is_some() || checked.diagnostics.has_errors(), "{text}");
    let _ = checked.diagnostics.to_string();
}

/// A job with a stretch of its text replaced.
fn damaged(text: &'static str) -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "",
        "\"",
        "{",
        "}",
        "${",
        "[]",
        "{}",
        "null",
        "-1",
        "1e400",
        "9223372036854775807",
        "\"x\"",
        "= [[1]]",
        "\n",
        "dynamic \"port\" {\nfor_each = [1]\ncontent {}\n}\n",
        "task \"t\" {}\n",
        "é",
    ]);
    (0..text.len(), 0..40_usize, words).prop_map(move |(start, length, word)| {
        let boundary = |mut at: usize| {
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (boundary(start), boundary((start + length).min(text.len())));
        format!("{}{word}{}", &text[..start], &text[end.max(start)..])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_jobs_never_panic(text in damaged(FULL)) {
        exercise(&text);
    }

    #[test]
    fn damaged_json_never_panics(text in damaged(JSON)) {
        exercise(&text);
        let _ = parse_api_json(&Source::new("x.json", text));
    }

    #[test]
    fn random_text_never_panics(text in "[ -~\n{}\"$%=\\[\\]]{0,200}") {
        exercise(&text);
        exercise(&format!("job \"j\" {{\n{text}\n}}\n"));
        let _ = parse_api_json(&Source::new("x.json", text));
    }
}
