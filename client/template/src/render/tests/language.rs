use super::*;

#[test]
fn actions_pipelines_and_variables() {
    expect(&[
        ("plain { text }", "plain { text }"),
        ("{{ \"a\" }}{{ `b\\n` }}{{ 'c' }}", "ab\\n99"),
        ("{{ 1_000 }} {{ 0x1F }} {{ 0b11 }} {{ 017 }} {{ 1.5 }} {{ 1e3 }} {{ true }}", "1000 31 3 15 1.5 1000 true"),
        ("a\n {{- 1 -}} \n b", "a1b"),
        ("a {{/* nothing */}}b {{- /* nothing */ -}} c", "a bc"),
        ("{{ $x := 1 }}{{ $x = 2 }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ \"a\" | printf \"%s-%s\" \"b\" }}", "b-a"),
        ("{{ (printf \"%d\" 3) | len }}", "1"),
        ("{{ . }}|{{ .a }}|{{ .a.b }}|{{ $ }}", "<no value>|<no value>|<no value>|<no value>"),
        (
            "{{ with parseJSON `{\"a\": {\"b\": null, \"c\": [1, true]}}` }}{{ .a.b }} {{ .a.c }} {{ .a }} {{ .none }}{{ end }}",
            "<no value> [1 true] map[b:<nil> c:[1 true]] <no value>",
        ),
        ("{{ (parseJSON `{\"a\": {\"b\": 5}}`).a.b }}", "5"),
        ("{{ $m := parseJSON `{\"a\": {\"b\": 5}}` }}{{ $m.a.b }}", "5"),
    ]);
}

#[test]
fn conditions() {
    expect(&[
        ("{{ if \"\" }}a{{ else if 0 }}b{{ else if 0.0 }}c{{ else }}d{{ end }}", "d"),
        ("{{ if 1 }}a{{ else }}b{{ end }}", "a"),
        ("{{ if and 1 \"\" }}a{{ else }}b{{ end }}{{ or \"\" \"x\" }}{{ and \"x\" \"y\" }}", "bxy"),
        ("{{ and false (parseInt \"x\") }}", "false"),
        ("{{ or true (parseInt \"x\") }}", "true"),
        ("{{ 1 | and true }} {{ not true }} {{ not \"\" }}", "1 false true"),
        ("{{ with \"x\" }}{{ . }}{{ else }}no{{ end }}{{ with \"\" }}a{{ else }}{{ . }}{{ end }}", "x<no value>"),
        ("{{ with \"\" }}a{{ else with 3 }}{{ . }}{{ end }}", "3"),
        ("{{ with $x := 5 }}{{ $x }}{{ end }}", "5"),
        (
            "{{ eq 1 1 }} {{ eq 1 2 3 1 }} {{ ne \"a\" \"b\" }} {{ lt 1 2 }} {{ le 2.0 2.0 }} {{ gt \"b\" \"a\" }} {{ ge 1 2 }}",
            "true true true true true true false",
        ),
    ]);
    expect_errors(&[
        ("{{ eq 1 \"1\" }}", "eq: cannot compare a int with a string"),
        ("{{ lt 1 1.5 }}", "lt: cannot compare"),
        ("{{ eq (split \",\" \"a\") 1 }}", "cannot compare a list"),
    ]);
}

#[test]
fn loops() {
    expect(&[
        ("{{ range split \",\" \"a,b\" }}<{{ . }}>{{ end }}", "<a><b>"),
        ("{{ range $i, $x := split \",\" \"a,b\" }}{{ $i }}{{ $x }}{{ end }}", "0a1b"),
        ("{{ range $k, $v := parseJSON `{\"b\": 1, \"a\": 2}` }}{{ $k }}={{ $v }};{{ end }}", "a=2;b=1;"),
        ("{{ range split \",\" \"\" }}a{{ else }}none{{ end }}", "none"),
        ("{{ range .nothing }}a{{ else }}none{{ end }}", "none"),
        (
            "{{ range 3 }}{{ . }}{{ end }}{{ range loop 1 3 }}{{ . }}{{ end }}{{ range loop \"2\" }}{{ . }}{{ end }}",
            "0121201",
        ),
        (
            "{{ range loop 5 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ if eq . 3 }}{{ break }}{{ end }}{{ . }}{{ end }}",
            "02",
        ),
        ("{{ range 2 }}{{ range 9 }}{{ if . }}{{ break }}{{ end }}x{{ end }}y{{ end }}", "xyxy"),
        ("{{ $last := 0 }}{{ range 3 }}{{ $last = . }}{{ end }}{{ $last }}", "2"),
        ("{{ $x := 7 }}{{ range $x := loop 2 }}{{ $x }}{{ end }}{{ $x }}", "017"),
    ]);
    expect_errors(&[
        ("{{ range \"abc\" }}{{ end }}", "cannot range over a string"),
        ("{{ range $i, $x := 3 }}{{ end }}", "takes one variable"),
    ]);
}

#[test]
fn named_templates() {
    expect(&[
        ("{{ define \"a\" }}<{{ . }}>{{ end }}{{ template \"a\" 1 }}{{ template \"a\" }}", "<1><<no value>>"),
        ("{{ block \"a\" 5 }}[{{ . }}]{{ end }}", "[5]"),
        ("{{ define \"a\" }}{{ $ }}{{ end }}{{ $x := 1 }}{{ with 3 }}{{ template \"a\" . }}{{ $x }}{{ end }}", "31"),
        (
            "{{ define \"down\" }}{{ if . }}{{ . }}{{ template \"down\" (subtract 1 .) }}{{ end }}{{ end }}{{ template \"down\" 3 }}",
            "321",
        ),
    ]);
    expect_errors(&[("{{ template \"none\" }}", "there is no template \"none\"")]);
}

#[test]
fn what_go_itself_has() {
    expect(&[
        ("{{ len \"abc\" }}{{ len (split \",\" \"a,b\") }}", "32"),
        ("{{ index (split \",\" \"a,b\") 1 }}{{ index (parseJSON `{\"a\": [1, 2]}`) \"a\" 1 }}", "b2"),
        ("{{ slice \"abcdef\" 1 3 }}{{ slice (split \",\" \"a,b,c\") 1 }}", "bc[b c]"),
        ("{{ print 1 2 \"a\" \"b\" 3 }}|{{ println \"a\" 1 }}", "1 2a b3|a 1\n".replace("a b", "ab").as_str()),
        (
            "{{ printf \"%5d|%-5s|%05.1f|%x|%q|%v|%t|%%\" 42 \"ab\" 3.14159 255 \"q\" \"v\" true }}",
            "   42|ab   |003.1|ff|\"q\"|v|true|%",
        ),
        ("{{ printf \"%v %v\" (split \",\" \"a,b\") (parseJSON `{\"a\": 1}`) }}", "[a b] map[a:1]"),
        (
            "{{ printf \"%d\" \"x\" }}{{ printf \"%s\" }}{{ printf \"x\" 1 }}",
            "%!d(string=x)%!s(MISSING)x%!(EXTRA int=1)",
        ),
        ("{{ printf \"%v %g %.0f\" 1000000.0 2.5 1000000.0 }} {{ print 1000000.0 }}", "1e+06 2.5 1000000 1e+06"),
        ("{{ html \"<a>&\" }} {{ js \"it's\" }} {{ urlquery \"a b&c\" }}", "&lt;a&gt;&amp; it\\'s a+b%26c"),
        (
            "{{ 1000000.0 }} {{ 123456.0 }} {{ 1234567.5 }} {{ 0.00001 }} {{ 0.0001 }} {{ 1.50 }}",
            "1e+06 123456 1.2345675e+06 1e-05 0.0001 1.5",
        ),
    ]);
    expect_errors(&[
        ("{{ index (split \",\" \"a\") 5 }}", "index: index 5 is out of range"),
        ("{{ slice \"abc\" 2 9 }}", "slice: index 9 is out of range"),
        ("{{ len 3 }}", "len: expected something that has a length, not a int"),
        ("{{ nil }}", "nil is not a command"),
        ("{{ \"a\" | \"b\" }}", "arguments are given to what is not a function"),
        ("{{ \"a\".b }}", "arguments are given to what is not a function"),
        ("{{ (split \",\" \"a\").b }}", "a list has no field \"b\""),
        ("{{ call 1 }}", "no values that are functions"),
        ("{{ toUpper 1 }}", "toUpper: expected a string, not a int"),
        ("{{ toUpper }}", "toUpper: takes 1 arguments, not 0"),
    ]);
}

#[test]
fn a_missing_key_is_an_error_where_that_is_asked_for() {
    let task = Task::new();
    let strict = |text: &str| Template { error_on_missing_key: true, ..template(text) };
    let error = task.render(&strict("\n{{ (parseJSON `{\"a\": 1}`).b }}")).unwrap_err();
    assert_eq!(error.to_string(), "template local/out line 2: there is no key \"b\"");
    assert!(task.render(&strict("{{ .a }}")).is_err());
    assert_eq!(task.render(&strict("{{ (parseJSON `{\"a\": 1}`).a }}")).unwrap().content, b"1");
}

#[test]
fn other_delimiters_leave_the_usual_ones_alone() {
    let task = Task::new();
    let left_delim = "<%".to_owned();
    let other = Template { left_delim, right_delim: "%>".into(), ..template("<% 1 %> {{ 2 }} <%- 3 -%> .") };
    assert_eq!(task.render(&other).unwrap().content, b"1 {{ 2 }}3.");
}

#[test]
fn errors_name_template_and_line() {
    let task = Task::new();
    for (text, message) in [
        ("a\n\n{{ if true }}\n{{ parseInt \"x\" }}{{ end }}", "line 4: parseInt: \"x\" is not a whole number"),
        (
            "{{ define \"a\" }}\n{{ mustEnv \"NONE\" }}{{ end }}\n\n{{ template \"a\" }}",
            "line 2: mustEnv: the task's environment has no NONE",
        ),
        (
            "{{ range loop 2 }}\n{{ index . 1 }}\n{{ end }}",
            "line 2: index: expected a list, a map or a string, not a int",
        ),
        ("x\n{{ nope }}", "line 2: function \"nope\" is not known"),
        (
            "{{ key \"a\" }}",
            "line 1: function \"key\" needs Consul, which is not supported: use nomadService or nomadVar",
        ),
        ("\n{{ if }}x{{ end }}", "line 2: empty command"),
    ] {
        assert_eq!(task.render(&template(text)).unwrap_err().to_string(), format!("template local/out {message}"));
    }
    let source = Template::new(Source::File("local/none.tpl".into()), "local/out");
    let error = task.render(&source).unwrap_err();
    assert_eq!(error.to_string(), "template local/out: its source local/none.tpl does not exist");
    let source = Template::new(Source::File("../other/x".into()), "local/out");
    assert!(task.render(&source).unwrap_err().cause.contains("outside of the task's"));
    fs::write(task.dir.path().join("web/local/t.tpl"), "{{ env \"NOMAD_PORT_http\" }}").unwrap();
    let source = Template::new(Source::File("local/t.tpl".into()), "local/out");
    assert_eq!(task.render(&source).unwrap().content, b"8080");
}
