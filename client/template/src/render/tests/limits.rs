use super::*;

fn failure(text: &str, limits: Limits) -> String {
    let task = Task::new();
    let began = Instant::now();
    let error = render(&template(text), &task.data, &task.sandbox(), limits).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(60), "{text}");
    error.to_string()
}

#[test]
fn a_template_that_does_not_end_is_ended() {
    let limits = Limits { steps: 100_000, ..Limits::default() };
    let doubling: String = (1..40)
        .map(|n| {
            format!(
                "{{{{ define \"t{n}\" }}}}{{{{ template \"t{0}\" }}}}{{{{ template \"t{0}\" }}}}{{{{ end }}}}",
                n - 1
            )
        })
        .collect();
    for text in [
        "{{ range 9000000000000000000 }}{{ end }}".to_owned(),
        "{{ range 100000 }}{{ range 100000 }}{{ range 100000 }}x{{ end }}{{ end }}{{ end }}".to_owned(),
        format!("{doubling}{{{{ define \"t0\" }}}}{{{{ end }}}}{{{{ template \"t39\" }}}}"),
    ] {
        assert_eq!(failure(&text, limits), "template local/out line 1: it does not come to an end within 100000 steps");
    }
    let soon = Limits { steps: u64::MAX, time: Duration::from_millis(50), ..Limits::default() };
    assert_eq!(
        failure("\n{{ range 9000000000000000000 }}{{ end }}", soon),
        "template local/out line 2: it does not come to an end within 50ms"
    );
    assert!(
        failure("{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}", limits)
            .contains("more than 400 levels deep")
    );
}

#[test]
fn a_template_cannot_fill_the_memory() {
    let limits = Limits { output: 1 << 20, values: 8 << 20, ..Limits::default() };
    for (text, cause) in [
        ("{{ range 1000000 }}0123456789{{ end }}", "its result grows beyond 1 MiB"),
        ("{{ $x := \"ab\" }}{{ range 60 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}", "a text grows beyond 1 MiB"),
        ("{{ $x := \"ab\" }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}", "a text grows beyond 1 MiB"),
        ("{{ $x := \"ab\" }}{{ range 60 }}{{ $x = replaceAll \"a\" $x $x }}{{ end }}", "a text grows beyond 1 MiB"),
        (
            "{{ $x := \"ab\" }}{{ range 60 }}{{ $x = regexReplaceAll \"a\" \"$0$0\" $x }}{{ end }}",
            "a text grows beyond 1 MiB",
        ),
        ("{{ sprig_repeat 1000000000000 \"a\" }}", "a text grows beyond 1 MiB"),
        ("{{ indent 1000000000 \"a\" }}", "a text grows beyond 1 MiB"),
        (
            "{{ printf \"%60000d%60000d%60000d%60000d%60000d%60000d%60000d%60000d%60000d%60000d%60000d%60000d%60000d%60000d%60000d%60000d%60000d%60000d\" 1 }}",
            "a text grows beyond 1 MiB",
        ),
        ("{{ loop 1000000000000 }}", "its values grow beyond 8 MiB"),
        ("{{ sprig_seq 1000000000000 }}", "its values grow beyond 8 MiB"),
        (
            "{{ $l := sprig_list \"a\" }}{{ range 60 }}{{ $l = sprig_list $l $l }}{{ end }}",
            "a list or map grows beyond 64 MiB",
        ),
        (
            "{{ $l := sprig_list \"a\" }}{{ range 15 }}{{ $l = sprig_list $l $l }}{{ end }}{{ $l }}",
            "a text grows beyond 1 MiB",
        ),
        (
            "{{ $l := sprig_list }}{{ range 1000000 }}{{ $l = sprig_list $l }}{{ end }}",
            "nested more than 128 levels deep",
        ),
        (
            "{{ $l := sprig_list }}{{ range 1000000 }}{{ $l = sprig_append $l . }}{{ end }}",
            "its values grow beyond 8 MiB",
        ),
        ("{{ range 1000000 }}{{ scratch.MapSet \"m\" (print .) . }}{{ end }}", "its values grow beyond 8 MiB"),
        ("{{ regexMatch \"(((a{100}){100}){100}){100}\" \"a\" }}", "is not a regular expression"),
    ] {
        let error = failure(text, limits);
        assert!(error.contains(cause), "{text}: {error}");
    }
}

#[test]
fn documents_that_nest_without_end_are_refused() {
    let deep = "[".repeat(100_000);
    let error = failure(&format!("{{{{ parseJSON `{deep}` }}}}"), Limits::default());
    assert!(error.contains("recursion limit"), "{error}");
    let aliases = "a: &a [x, x]\\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d]\\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e]\\ng: [*f, *f, *f, *f, *f, *f, *f, *f]";
    let error = failure(&format!("{{{{ parseYAML \"{aliases}\" }}}}"), Limits::default());
    assert!(error.contains("repetition limit") || error.contains("grows beyond"), "{error}");
}

#[test]
fn a_large_template_is_read_in_reasonable_time() {
    let text: String = (0..4_000).map(|n| format!("{{{{ $v{n} := {n} }}}}{{{{ $v0 }}}}\n")).collect();
    let task = Task::new();
    let began = Instant::now();
    let rendered = render(&template(&text), &task.data, &task.sandbox(), Limits::default()).unwrap();
    assert_eq!(rendered.content.len(), 8_000);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

/// A sequence that is the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % count
    }
}

#[test]
fn no_text_whatever_brings_it_down() {
    const PIECES: &[&str] = &[
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "\n",
        "if",
        "else",
        "end",
        "range",
        "with",
        "define",
        "block",
        "template",
        "break",
        "continue",
        "\"a\"",
        "\"é\"",
        "`r`",
        "'c'",
        "'",
        "\"",
        "(",
        ")",
        "|",
        ".",
        ".a",
        ".b.c",
        "$",
        "$x",
        ":=",
        "=",
        ",",
        "1",
        "-5",
        "2.5",
        "0x",
        "1e999",
        "9223372036854775807",
        "nil",
        "true",
        "printf",
        "\"%*d%[5]v%q\"",
        "index",
        "slice",
        "len",
        "eq",
        "lt",
        "and",
        "or",
        "not",
        "split",
        "join",
        "parseJSON",
        "`{\"a\": [1, null, {\"b\": 2}]}`",
        "toJSON",
        "toYAML",
        "toTOML",
        "scratch.Set",
        "scratch",
        "sprig_list",
        "sprig_dict",
        "sprig_set",
        "sprig_substr",
        "sprig_trunc",
        "sprig_slice",
        "sprig_date",
        "sprig_dateModify",
        "\".000 2006 Jan\"",
        "sprig_seq",
        "sprig_round",
        "sprig_mod",
        "modulo",
        "divide",
        "indent",
        "loop",
        "regexReplaceAll",
        "sprig_camelcase",
        "sprig_dig",
        "explodeMap",
        "base64Decode",
        "/*",
        "*/",
        "\\",
    ];
    let task = Task::new();
    let limits = Limits { steps: 2000, output: 1 << 16, values: 1 << 20, ..Limits::default() };
    let mut dice = Dice(7);
    let (mut fine, mut failed) = (0, 0);
    for _ in 0..6000 {
        let balanced = dice.below(3) > 0;
        let mut text = String::from(if balanced { "{{ " } else { "" });
        for _ in 0..=dice.below(9) {
            text.push_str(PIECES[dice.below(PIECES.len())]);
            if dice.below(4) > 0 {
                text.push(' ');
            }
        }
        text.push_str(if balanced { " }}" } else { "" });
        match render(&template(&text), &task.data, &task.sandbox(), limits) {
            Ok(_) => fine += 1,
            Err(error) => {
                assert!(!error.cause.contains("for a reason of its own"), "{text:?}");
                failed += 1;
            }
        }
    }
    assert!(fine > 100 && failed > 100, "{fine} {failed}");
}
