//! Every function, with a result and with what it refuses.

use std::fs;

use orch_hcl::{FileAccess, Scope, UnknownRoots};
use serde_json::json;

use super::{check, check_errors, evaluate, evaluate_in};

#[test]
fn numeric_functions() {
    check(&[
        ("[abs(-3), abs(2.5)]", json!([3, 2.5])),
        ("[ceil(1.2), ceil(-1.2), floor(1.8), floor(3)]", json!([2, -1, 1, 3])),
        ("[log(8, 2), log(1, 10)]", json!([3, 0])),
        ("[max(1, 5, 2), min(4, -1)]", json!([5, -1])),
        (r#"[parseint("ff", 16), parseint("-101", 2), parseint("Z", 62)]"#, json!([255, -5, 61])),
        ("[pow(2, 10), pow(2, 0.5) > 1.41, pow(2, -1)]", json!([1024, true, 0.5])),
        ("[signum(-7), signum(0), signum(0.1)]", json!([-1, 0, 1])),
    ]);
    check_errors(&[
        (r#"parseint("12", 2)"#, "`2` is not a digit in base 2"),
        ("pow(10, 1000)", "too large"),
        ("log(0, 10)", "not a finite number"),
        (r#"abs("x")"#, "argument 1 must be a number, this is a string"),
        ("max()", "`max` takes at least 1 argument, not 0"),
    ]);
}

#[test]
fn string_functions() {
    check(&[
        (r#"chomp("a\n\r\n")"#, json!("a")),
        (r#"indent(2, "a\nb")"#, json!("a\n  b")),
        (r#"join("-", ["a", 1], ["c"])"#, json!("a-1-c")),
        (r#"[lower("ÄB"), upper("äb")]"#, json!(["äb", "ÄB"])),
        (r#"regex_replace("a1b22", "[0-9]+", "<$0>")"#, json!("a<1>b<22>")),
        (r#"replace("aXbX", "X", "--")"#, json!("a--b--")),
        (r#"[reverse("äb"), strrev("xy")]"#, json!(["bä", "yx"])),
        (r#"[split(",", "a,b"), split("", "ab"), split(",", "")]"#, json!([["a", "b"], ["a", "b"], [""]])),
        (r#"strlen("äöü")"#, json!(3)),
        (r#"[substr("hello", 1, 3), substr("hello", -2, -1), substr("hi", 5, 2)]"#, json!(["ell", "lo", ""])),
        (r#"title("hello big world")"#, json!("Hello Big World")),
        (
            r#"[trim("xxaxx", "x"), trimprefix("abc", "ab"), trimsuffix("abc", "bc"), trimspace(" a\n")]"#,
            json!(["a", "c", "a", "a"]),
        ),
    ]);
    check_errors(&[
        (r#"regex_replace("a", "(", "")"#, "`(` is not a valid regular expression"),
        (r#"substr("a", 0, -2)"#, "the length must be -1 or more"),
        ("upper([])", "argument 1 must be a string, this is a list"),
    ]);
}

#[test]
fn format_has_the_verbs_of_go() {
    check(&[
        (r#"format("%d|%5d|%-5d|%05d|%+d", 7, 7, 7, -7, 7)"#, json!("7|    7|7    |-0007|+7")),
        (r#"format("%b %o %x %X", 5, 8, 255, 255)"#, json!("101 10 ff FF")),
        (
            r#"format("%f %.2f %e %.3g %g", 1.5, 1.005, 1234.5, 1234567, 0.25)"#,
            json!("1.500000 1.00 1.234500e+03 1.23e+06 0.25"),
        ),
        (r#"format("%s %q %v %#v %t %%", "a", "b", [1, "c"], "d", true)"#, json!("a \"b\" [1,\"c\"] \"d\" true %")),
        (r#"format("%[2]s-%[1]s-%.1s", "ab", "cd")"#, json!("cd-ab-c")),
        (r#"formatlist("%s:%d", ["a", "b"], 80)"#, json!(["a:80", "b:80"])),
    ]);
    check_errors(&[
        (r#"format("%d", 1.5)"#, "`%d` needs a whole number"),
        (r#"format("%s")"#, "the pattern asks for argument 1, but there are 0"),
        (r#"format("%s", 1, 2)"#, "the pattern uses 1 of 2 arguments"),
        (r#"format("%999999999d", 1)"#, "larger than 4096"),
        (r#"format("%z", 1)"#, "no verb `%z`"),
        (r#"formatlist("%s%s", [1], [1, 2])"#, "same length"),
    ]);
}

#[test]
fn collection_functions() {
    check(&[
        ("chunklist([1, 2, 3], 2)", json!([[1, 2], [3]])),
        ("coalesce(null, 2, 3)", json!(2)),
        ("coalescelist([], [1])", json!([1])),
        (r#"compact(["a", "", null, "b"])"#, json!(["a", "b"])),
        ("[contains([1, 2], 2), contains([1], \"1\")]", json!([true, false])),
        ("distinct([1, 2, 1])", json!([1, 2])),
        ("element([1, 2, 3], 4)", json!(2)),
        ("flatten([1, [2, [3]], []])", json!([1, 2, 3])),
        (r#"index({ a = 5 }, "a")"#, json!(5)),
        ("[keys({ b = 1, a = 2 }), values({ b = 1, a = 2 })]", json!([["a", "b"], [2, 1]])),
        ("[length([1, 2]), length({ a = 1 })]", json!([2, 1])),
        (r#"[lookup({ a = 1 }, "a", 0), lookup({}, "a", 0)]"#, json!([1, 0])),
        ("merge({ a = 1, b = 1 }, null, { b = 2 })", json!({"a": 1, "b": 2})),
        ("[range(3), range(1, 4), range(4, 0, -2), range(2, 0)]", json!([[0, 1, 2], [1, 2, 3], [4, 2], [2, 1]])),
        ("slice([1, 2, 3], 1, 3)", json!([2, 3])),
        (r#"sort(["b", "a", 1])"#, json!(["1", "a", "b"])),
        (r#"zipmap(["a", "b"], [1, 2])"#, json!({"a": 1, "b": 2})),
        ("setintersection([1, 2, 3], [3, 2], [2])", json!([2])),
        ("setunion([1], [2, 1])", json!([1, 2])),
        ("setproduct([1, 2], [\"a\", \"b\"])", json!([[1, "a"], [1, "b"], [2, "a"], [2, "b"]])),
    ]);
    check_errors(&[
        ("range(1025)", "more than 1024 numbers"),
        ("range(1, 2, 0)", "must not be zero"),
        ("element([], 0)", "an empty list has no elements"),
        ("slice([1], 1, 0)", "1 to 0 is not within a list of 1"),
        ("length(\"abc\")", "use `strlen`"),
        ("lookup({}, \"a\")", "there is no key \"a\""),
        ("coalesce(null, null)", "all arguments are null"),
        ("zipmap([\"a\"], [])", "there are 1 keys but 0 values"),
    ]);
}

#[test]
fn encoding_functions() {
    check(&[
        (r#"[base64encode("hi"), base64decode("aGk=")]"#, json!(["aGk=", "hi"])),
        (r#"csvdecode("a,b\n1,2\n3,4\n")"#, json!([{"a": "1", "b": "2"}, {"a": "3", "b": "4"}])),
        (r#"jsondecode("{\"a\": [1, 2.5, null, true]}")"#, json!({"a": [1, 2.5, null, true]})),
        (
            r#"jsonencode({ b = [1, "<x>"], a = null, n = 9223372036854775808 })"#,
            json!("{\"a\":null,\"b\":[1,\"\\u003cx\\u003e\"],\"n\":9223372036854775808}"),
        ),
        (r#"urlencode("a b/ü~")"#, json!("a+b%2F%C3%BC~")),
        (r#"yamldecode("a: [1, x]\nb: {c: true}")"#, json!({"a": [1, "x"], "b": {"c": true}})),
        (r#"yamldecode(yamlencode({ a = [1, "x"], b = null }))"#, json!({"a": [1, "x"], "b": null})),
    ]);
    check_errors(&[
        (r#"base64decode("/w==")"#, "not UTF-8"),
        (r#"base64decode("!")"#, "this is not base64"),
        (r#"jsondecode("{")"#, "not valid JSON"),
        (r#"csvdecode("a,b\n1\n")"#, "not valid CSV"),
        (r#"yamldecode("[")"#, "not valid YAML"),
    ]);
}

#[test]
fn date_functions() {
    check(&[
        (r#"formatdate("DD MMM YYYY hh:mm:ss ZZZ", "2018-01-02T23:12:01Z")"#, json!("02 Jan 2018 23:12:01 UTC")),
        (
            r#"formatdate("EEEE, DD-MMM-YY H:mmaa 'o''clock' ZZZZZ", "2018-01-02T23:12:01-08:00")"#,
            json!("Tuesday, 02-Jan-18 11:12pm o'clock -08:00"),
        ),
        (r#"timeadd("2017-11-22T00:00:00Z", "10m")"#, json!("2017-11-22T00:10:00Z")),
        (r#"timeadd("2017-12-31T23:59:59.5+01:00", "1s")"#, json!("2018-01-01T00:00:00.5+01:00")),
    ]);
    check_errors(&[
        (r#"formatdate("YYYYY", "2018-01-02T23:12:01Z")"#, "not a field of a date"),
        (r#"timeadd("yesterday", "1s")"#, "not a time"),
        (r#"timeadd("9999-12-31T23:59:59Z", "24h")"#, "out of range"),
        (r#"timeadd("2017-11-22T00:00:00Z", "1d")"#, "not a unit of time"),
    ]);
}

#[test]
fn digests_and_identifiers() {
    check(&[
        (r#"md5("hello")"#, json!("5d41402abc4b2a76b9719d911017c592")),
        (r#"sha1("hello")"#, json!("aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d")),
        (r#"sha256("")"#, json!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")),
        (r#"strlen(sha512("x"))"#, json!(128)),
        (r#"uuidv5("dns", "www.example.com")"#, json!("2ed6657d-e927-568b-95e1-2665a8aea6a2")),
        ("uuidv4() != uuidv4()", json!(true)),
    ]);
    check_errors(&[
        (r#"bcrypt("x")"#, "`bcrypt`: orch does not offer this function"),
        (r#"rsadecrypt("x", "y")"#, "`rsadecrypt`: orch does not offer this function"),
        (r#"uuidv5("nope", "x")"#, "the namespace must be"),
    ]);
}

#[test]
fn address_functions() {
    check(&[
        (
            r#"[cidrhost("10.12.127.0/20", 16), cidrhost("10.0.0.0/24", -1), cidrhost("fd00::/64", 34)]"#,
            json!(["10.12.112.16", "10.0.0.255", "fd00::22"]),
        ),
        (r#"cidrnetmask("172.16.0.0/12")"#, json!("255.240.0.0")),
        (
            r#"[cidrsubnet("172.16.0.0/12", 4, 2), cidrsubnet("fd00::/48", 16, 162)]"#,
            json!(["172.18.0.0/16", "fd00:0:0:a2::/64"]),
        ),
        (
            r#"cidrsubnets("10.1.0.0/16", 4, 4, 8, 4)"#,
            json!(["10.1.0.0/20", "10.1.16.0/20", "10.1.32.0/24", "10.1.48.0/20"]),
        ),
    ]);
    check_errors(&[
        (r#"cidrhost("10.0.0.0/24", 256)"#, "has no host number 256"),
        (r#"cidrhost("10.0.0.0", 1)"#, "not an address range"),
        (r#"cidrnetmask("fd00::/8")"#, "only IPv4"),
        (r#"cidrsubnet("10.0.0.0/24", 9, 0)"#, "has no room for 9 more bits"),
        (r#"cidrsubnet("10.0.0.0/24", 2, 4)"#, "2 bits have no network number 4"),
        (r#"cidrsubnets("10.0.0.0/24", 1, 1, 1)"#, "has no room for all"),
        (r#"cidrsubnets("255.255.255.0/24", 1, 1, 1)"#, "has no room for all"),
    ]);
}

#[test]
fn files_are_read_below_the_base_directory_only_where_allowed() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    fs::write(directory.path().join("a.txt"), "hi").unwrap();
    fs::write(directory.path().join("sub/b.txt"), [0xff]).unwrap();
    let scope = Scope::new(UnknownRoots::Error, FileAccess::Base(directory.path().to_owned()));
    let eval = |text: &str| evaluate_in(&scope, &format!("x = {text}\n")).map(|value| value.to_json());
    assert_eq!(eval(r#"file("a.txt")"#), Ok(json!("hi")));
    assert_eq!(eval(r#"filebase64("sub/b.txt")"#), Ok(json!("/w==")));
    assert_eq!(eval(r#"[fileexists("a.txt"), fileexists("b.txt")]"#), Ok(json!([true, false])));
    assert_eq!(eval(r#"fileset(".", "**/*.txt")"#), Ok(json!(["a.txt", "sub/b.txt"])));
    assert!(eval(r#"file("sub/b.txt")"#).unwrap_err().contains("not UTF-8"));
    assert!(eval(r#"file("sub")"#).unwrap_err().contains("not a regular file"));
    assert!(eval(r#"file("nope")"#).unwrap_err().contains("cannot read"));
    assert_eq!(eval(r#"abspath("sub/../a.txt")"#), Ok(json!(directory.path().join("a.txt"))));
    assert_eq!(eval(r#"pathexpand("/x/y")"#), Ok(json!("/x/y")));

    for call in [
        "file(\"a\")",
        "fileset(\".\", \"*\")",
        "fileexists(\"a\")",
        "abspath(\"a\")",
        "pathexpand(\"~\")",
        "filebase64(\"a\")",
    ] {
        assert!(evaluate(call).unwrap_err().contains("filesystem function disabled"), "{call}");
    }
    check(&[(
        r#"[basename("/a/b.c"), basename("/"), basename(""), dirname("/a/b/c"), dirname("a"), dirname("/a")]"#,
        json!(["b.c", "/", ".", "/a/b", ".", "/"]),
    )]);
}
