use super::*;

#[test]
fn environment_and_files() {
    expect(&[
        ("{{ env \"NOMAD_PORT_http\" }}{{ env \"NONE\" }}{{ mustEnv \"NOMAD_PORT_http\" }}", "80808080"),
        (
            "{{ envOrDefault \"NONE\" \"a\" }}{{ envOrDefault \"EMPTY\" \"b\" }}{{ envOrDefault \"NOMAD_PORT_http\" \"c\" }}",
            "ab8080",
        ),
        (
            "{{ with file \"local/app.json\" | parseJSON }}{{ .name }}:{{ .port }} {{ range .tags }}{{ . }}{{ end }}{{ end }}",
            "app:8080 ab",
        ),
        ("{{ file \"local/none\" }}", "missing: [File(\"local/none\")]"),
        ("{{ file \"local/none\" | parseJSON | toJSON | parseInt }}", "missing: [File(\"local/none\")]"),
    ]);
    expect_errors(&[
        ("{{ file \"/etc/passwd\" }}", "file: /etc/passwd is outside of the task's and the allocation's directory"),
        ("{{ file \"../../etc/passwd\" }}", "outside of the task's"),
        ("{{ file \"local\" }}", "local is not a regular file"),
    ]);
}

#[test]
fn texts() {
    expect(&[
        ("{{ toUpper \"aé\" }}{{ toLower \"AÉ\" }}{{ toTitle \"foo bar's o_o\" }}", "AÉaéFoo Bar's O_o"),
        (
            "{{ trimSpace \" a \" }}{{ trim \"!?\" \"!a?!\" }}{{ trimPrefix \"a\" \"aab\" }}{{ trimSuffix \"b\" \"abb\" }}",
            "aaabab",
        ),
        ("{{ \"a.b.c\" | replaceAll \".\" \"-\" }}", "a-b-c"),
        (
            "{{ \"foo123\" | regexMatch \"o[0-9]+$\" }} {{ \"foo bar\" | regexReplaceAll \"(\\\\w+) (\\\\w+)\" \"$2-${1}x\" }}",
            "true bar-foox",
        ),
        ("{{ env \"LIST\" | split \",\" }} {{ \"a1b\" | split \"\" }}", "[a b c] [a 1 b]"),
        ("{{ \"a:1,b:2,c\" | splitToMap \",\" \":\" }}", "map[a:1 b:2 c:]"),
        ("{{ split \",\" \"a,b\" | join \"+\" }}", "a+b"),
        ("{{ \"a\\n\\nb\\n\" | indent 2 }}", "  a\n\n  b\n"),
    ]);
    expect_errors(&[
        ("{{ regexMatch \"(\" \"a\" }}", "\"(\" is not a regular expression: unclosed group"),
        ("{{ split \",\" \"a\" | join 1 }}", "join: expected a string, not a int"),
        ("{{ indent -1 \"a\" }}", "indentation is negative"),
    ]);
}

#[test]
fn lists_and_maps() {
    expect(&[
        (
            "{{ $l := split \",\" \"a,b\" }}{{ in $l \"a\" }}{{ $l | contains \"c\" }}{{ in \"abc\" \"b\" }}",
            "truefalsetrue",
        ),
        (
            "{{ $l := split \",\" \"a,b\" }}{{ $s := split \",\" \"b,c\" }}{{ containsAll $s $l }} {{ containsAny $s $l }} {{ containsNone $s $l }} {{ containsNotAll $s $l }}",
            "false true false true",
        ),
        ("{{ explodeMap (parseJSON `{\"a/b\": 1, \"a/c/d\": 2, \"e\": 3}`) }}", "map[a:map[b:1 c:map[d:2]] e:3]"),
        ("{{ explode (parseJSON `[{\"Key\": \"a/b\", \"Value\": \"x\"}]`) }}", "map[a:map[b:x]]"),
        (
            "{{ byKey (parseJSON `[{\"Key\": \"top/a/b\", \"Value\": \"x\"}, {\"Key\": \"none\", \"Value\": \"y\"}]`) }}",
            "map[top:map[a/b:map[Key:a/b Value:x]]]",
        ),
        (
            "{{ range $tag, $s := byTag (parseJSON `[{\"Tags\": [\"x\", \"y\"], \"n\": 1}, {\"Tags\": [\"x\"], \"n\": 2}]`) }}{{ $tag }}{{ range $s }}{{ .n }}{{ end }};{{ end }}",
            "x12;y1;",
        ),
        (
            "{{ $a := parseJSON `{\"a\": 1, \"m\": {\"x\": 1}, \"e\": \"\"}` }}{{ $b := parseJSON `{\"a\": 2, \"m\": {\"y\": 2}, \"e\": 5, \"n\": 6}` }}{{ mergeMap $a $b }} {{ mergeMapWithOverride $a $b }} {{ merge $a $b }}",
            "map[a:1 e:5 m:map[x:1 y:2] n:6] map[a:2 e:5 m:map[x:1 y:2] n:6] map[a:1 e:5 m:map[x:1 y:2] n:6]",
        ),
    ]);
    expect_errors(&[
        ("{{ explodeMap (parseJSON `{\"a\": 1, \"a/b\": 2}`) }}", "\"a/b\" is below a key that has a value"),
        ("{{ in 5 5 }}", "expected a list, not a int"),
    ]);
}

#[test]
fn numbers() {
    expect(&[
        (
            "{{ add 1 2 }} {{ 5 | subtract 3 }} {{ multiply 2 3 }} {{ divide 2 7 }} {{ modulo 3 7 }} {{ minimum 2 1 }} {{ maximum 2 1 }}",
            "3 2 6 3 1 1 2",
        ),
        ("{{ add 1 2.5 }} {{ divide 2.0 7 }}", "3.5 3.5"),
        (
            "{{ parseInt \"-5\" }}{{ parseUint \"5\" }}{{ parseFloat \"1.5\" }}{{ parseBool \"t\" }}{{ parseBool \"\" }}{{ parseInt \"\" }}",
            "-551.5truefalse0",
        ),
    ]);
    expect_errors(&[
        ("{{ divide 0 1 }}", "divide: divides by zero"),
        ("{{ modulo 0 1 }}", "divides by zero"),
        ("{{ multiply 9223372036854775807 2 }}", "the result is too large"),
        ("{{ parseUint \"-1\" }}", "\"-1\" is not a whole number from 0 on"),
        ("{{ parseBool \"x\" }}", "\"x\" is neither true nor false"),
        ("{{ parseFloat \"x\" }}", "\"x\" is not a number"),
        ("{{ add 1 \"2\" }}", "expected a number, not a string"),
    ]);
}

#[test]
fn documents() {
    expect(&[
        (
            "{{ parseJSON `{\"a\": [1, 2.5, \"x<y\", null, 1e30, 1000000]}` | toJSON }}",
            r#"{"a":[1,2.5,"x\u003cy",null,1e+30,1000000]}"#,
        ),
        ("{{ parseJSON `{\"a\": \"<&>\", \"b\": []}` | toUnescapedJSON }}", r#"{"a":"<&>","b":[]}"#),
        ("{{ parseJSON `{\"a\": [1], \"b\": {}}` | toJSONPretty }}", "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}"),
        (
            "{{ parseYAML \"a: [1, 2.5]\\nb: {c: yes}\\n3: x\\n\" | toJSON }}",
            r#"{"3":"x","a":[1,2.5],"b":{"c":"yes"}}"#,
        ),
        ("{{ parseJSON `{\"a\": [1, \"x\"], \"b\": {\"c\": true}}` | toYAML }}", "a:\n- 1\n- x\nb:\n  c: true"),
        ("{{ parseYAML \"a: 1\\nb: {c: [x]}\" | toTOML }}", "a = 1\n\n[b]\nc = [\"x\"]"),
        ("{{ parseJSON \"\" | toJSON }}{{ parseYAML \"\" | toJSON }}", "{}{}"),
        ("{{ \"tab\\t\\\"\" | toJSON }}", r#""tab\t\"""#),
    ]);
    expect_errors(&[
        ("{{ parseJSON \"{\" }}", "parseJSON: this is not JSON: EOF"),
        ("{{ parseYAML \"a: [\" }}", "parseYAML: this is not YAML"),
        ("{{ parseJSON `{\"a\": null}` | toTOML }}", "TOML has no null"),
        ("{{ toTOML 1 }}", "expected a map"),
    ]);
}

#[test]
fn encodings_and_hashes() {
    expect(&[
        (
            "{{ base64Encode \"a?>\" }} {{ base64Decode \"YT8+\" }} {{ base64URLEncode \"a?>\" }} {{ base64URLDecode \"YT8-\" }}",
            "YT8+ a?> YT8- a?>",
        ),
        ("{{ base64Decode \"YQ\" }}{{ base64Decode \"YQ==\" }}", "aa"),
        ("{{ md5sum \"a\" }}", "0cc175b9c0f1b6a831c399e269772661"),
        ("{{ sha256Hex \"a\" }}", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("{{ sprig_sha1sum \"a\" }}", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
        // RFC 4231, case 2.
        (
            "{{ hmacSHA256Hex \"what do ya want for nothing?\" \"Jefe\" }}",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
    ]);
    expect_errors(&[("{{ base64Decode \"?\" }}", "base64Decode: this is not Base64: invalid symbol")]);
    let binary = Task::new().render(&template("{{ base64Decode \"AP+A\" }}")).unwrap();
    assert_eq!(binary.content, [0, 0xff, 0x80]);
    expect_errors(&[("{{ base64Decode \"AP+A\" | toUpper }}", "not a bytes that are not UTF-8 text")]);
}

#[test]
fn notes() {
    expect(&[
        (
            "{{ scratch.Set \"a\" 1 }}{{ scratch.SetX \"a\" 2 }}{{ scratch.SetX \"b\" 3 }}{{ scratch.Get \"a\" }}{{ scratch.Get \"b\" }}{{ scratch.Key \"c\" }}",
            "13false",
        ),
        (
            "{{ scratch.MapSet \"m\" \"b\" 1 }}{{ scratch.MapSet \"m\" \"a\" 2 }}{{ scratch.MapSetX \"m\" \"a\" 3 }}{{ scratch.MapValues \"m\" }}{{ range $k, $v := scratch.Get \"m\" }}{{ $k }}{{ $v }}{{ end }}",
            "[2 1]a2b1",
        ),
        ("{{ \"v\" | scratch.Set \"k\" }}{{ if eq (scratch.Get \"k\") \"v\" }}yes{{ end }}", "yes"),
    ]);
    expect_errors(&[
        ("{{ scratch.Nope 1 }}", ".Nope: scratch has Key"),
        ("{{ scratch.MapSet \"a\" }}", ".MapSet: takes 3 arguments, not 1"),
    ]);
}

#[test]
fn time() {
    expect(&[
        ("{{ 0 | sprig_date \"2006-01-02T15:04:05Z07:00\" }}", "1970-01-01T00:00:00Z"),
        (
            "{{ sprig_date \"Mon Jan _2 3:04PM 06 Monday January 002 .000 -0700\" 1000000000 }}",
            "Sun Sep  9 1:46AM 01 Sunday September 252 .000 +0000",
        ),
        ("{{ sprig_dateInZone \"15:04 -07:00\" 0 \"UTC\" }} {{ sprig_htmlDate 86400 }}", "00:00 +00:00 1970-01-02"),
        (
            "{{ sprig_unixEpoch (sprig_dateModify \"-1h30m\" 7200) }} {{ (sprig_dateModify \"1s\" 0).Year }}",
            "1800 1970",
        ),
        (
            "{{ (sprig_dateModify \"1.5s\" 0) }} {{ (sprig_dateModify \"1s\" 0).Format \"5\" }}",
            "1970-01-01 00:00:01.5 +0000 UTC 1",
        ),
        ("{{ if gt (timestamp \"unix\" | parseInt) 1700000000 }}later{{ end }}{{ len (timestamp) }}", "later20"),
        ("{{ if lt (sprig_now).Unix 1700000000 }}earlier{{ end }}", ""),
    ]);
    expect_errors(&[
        ("{{ sprig_dateModify \"1x\" 0 }}", "cannot move a time by \"1x\""),
        ("{{ sprig_dateInZone \"15\" 0 \"Nowhere/None\" }}", "there is no time zone"),
    ]);
}

#[test]
fn sprig_texts() {
    expect(&[
        (
            "{{ sprig_trim \" a \" }}{{ sprig_upper \"a\" }}{{ sprig_lower \"A\" }}{{ sprig_title \"a b\" }}{{ sprig_untitle \"A B\" }}{{ sprig_nospace \"a b\" }}",
            "aAaA Ba Bab",
        ),
        (
            "{{ sprig_trimAll \"$\" \"$5$\" }}{{ sprig_trimPrefix \"a\" \"ab\" }}{{ sprig_trimSuffix \"b\" \"ab\" }}",
            "5ba",
        ),
        (
            "{{ sprig_contains \"b\" \"abc\" }}{{ sprig_hasPrefix \"a\" \"abc\" }}{{ sprig_hasSuffix \"x\" \"abc\" }}",
            "truetruefalse",
        ),
        (
            "{{ sprig_repeat 3 \"ab\" }} {{ sprig_substr 1 3 \"abcd\" }} {{ sprig_trunc 2 \"abcd\" }} {{ sprig_trunc -2 \"abcd\" }}",
            "ababab bc ab cd",
        ),
        (
            "{{ sprig_quote \"a\\\"b\" 1 }} {{ sprig_squote \"a\" }} {{ sprig_cat \"a\" 1 true }}",
            "\"a\\\"b\" \"1\" 'a' a 1 true",
        ),
        ("{{ sprig_indent 2 \"a\\nb\" }}{{ sprig_nindent 1 \"c\" }}", "  a\n  b\n c"),
        (
            "{{ sprig_replace \".\" \"-\" \"a.b\" }} {{ sprig_plural \"one\" \"many\" 2 }} {{ sprig_toString 5 }}",
            "a-b many 5",
        ),
        (
            "{{ sprig_sortAlpha (sprig_list \"b\" \"a\" 1) }} {{ sprig_toStrings (sprig_list 1 2) }} {{ sprig_join \"-\" (sprig_list 1 \"a\") }}",
            "[1 a b] [1 2] 1-a",
        ),
        (
            "{{ sprig_splitList \".\" \"a.b\" }} {{ (sprig_split \".\" \"a.b\")._1 }} {{ sprig_splitn \".\" 2 \"a.b.c\" }}",
            "[a b] b map[_0:a _1:b.c]",
        ),
        (
            "{{ sprig_snakecase \"fooBarBaz\" }} {{ sprig_kebabcase \"FooBar\" }} {{ sprig_camelcase \"foo_bar-baz\" }}",
            "foo_bar_baz foo-bar FooBarBaz",
        ),
        (
            "{{ sprig_base \"/a/b.txt\" }} {{ sprig_dir \"/a/b.txt\" }} {{ sprig_ext \"/a/b.txt\" }} {{ sprig_dir \"/a\" }} {{ sprig_dir \"a\" }}",
            "b.txt /a .txt / .",
        ),
        (
            "{{ sprig_regexMatch \"^a+$\" \"aa\" }} {{ sprig_regexFind \"[0-9]+\" \"a12\" }} {{ sprig_regexFindAll \"[0-9]\" \"1a2b3\" 2 }} {{ sprig_regexFindAll \"[0-9]\" \"1a2b3\" -1 }}",
            "true 12 [1 2] [1 2 3]",
        ),
        (
            "{{ sprig_regexReplaceAll \"a(x*)b\" \"-ab-axxb-\" \"${1}W\" }} {{ sprig_regexReplaceAllLiteral \"a\" \"aba\" \"$1\" }} {{ sprig_regexSplit \"z+\" \"pizza\" -1 }}",
            "-W-xxW- $1b$1 [pi a]",
        ),
        ("{{ sprig_mustRegexMatch \"a\" \"a\" }} {{ sprig_mustToJson (sprig_list 1) }}", "true [1]"),
        (
            "{{ sprig_b64enc \"a\" | sprig_b64dec }} {{ sprig_sha256sum \"a\" | sprig_trunc 8 }} {{ sprig_sha512sum \"a\" | len }}",
            "a ca978112 128",
        ),
        (
            "{{ sprig_toJson (sprig_dict \"a\" \"<\") }} {{ sprig_toRawJson (sprig_dict \"a\" \"<\") }} {{ (sprig_fromJson `{\"a\": 1}`).a }}{{ sprig_toPrettyJson (sprig_list 1) }}",
            "{\"a\":\"\\u003c\"} {\"a\":\"<\"} 1[\n  1\n]",
        ),
    ]);
}

#[test]
fn sprig_values() {
    expect(&[
        (
            "{{ env \"NONE\" | sprig_default \"d\" }}{{ sprig_default 1 2 }}{{ sprig_empty \"\" }}{{ sprig_coalesce 0 \"\" 3 }}{{ sprig_ternary \"a\" \"b\" false }}",
            "d2true3b",
        ),
        (
            "{{ sprig_all 1 0 }}{{ sprig_any 1 0 }} {{ sprig_kindOf (sprig_list) }} {{ sprig_kindIs \"int\" 1 }}",
            "falsetrue slice true",
        ),
        (
            "{{ sprig_add 1 2 3 }} {{ sprig_add1 1 }} {{ sprig_sub 5 3 }} {{ sprig_div 7 2 }} {{ sprig_mod 7 2 }} {{ sprig_mul 2 3 4 }} {{ sprig_max 1 3 2 }} {{ sprig_min 2 1 }}",
            "6 2 2 3 1 24 3 1",
        ),
        (
            "{{ sprig_int \"5\" }}{{ sprig_int64 5.9 }}{{ sprig_atoi \"x\" }} {{ sprig_float64 \"1.5\" }} {{ sprig_floor 1.7 }} {{ sprig_ceil 1.2 }} {{ sprig_round 1.2345 2 }}",
            "550 1.5 1 2 1.23",
        ),
        (
            "{{ sprig_until 3 }} {{ sprig_untilStep 3 6 2 }} {{ sprig_seq 3 }} {{ sprig_seq 5 -2 1 }}",
            "[0 1 2] [3 5] 1 2 3 5 3 1",
        ),
        (
            "{{ $l := sprig_list 1 2 3 }}{{ sprig_first $l }}{{ sprig_last $l }}{{ sprig_rest $l }}{{ sprig_initial $l }}{{ sprig_reverse $l }}",
            "13[2 3][1 2][3 2 1]",
        ),
        (
            "{{ sprig_append (sprig_list 1) 2 }}{{ sprig_push (sprig_list 1) 2 }}{{ sprig_prepend (sprig_list 1) 0 }}{{ sprig_concat (sprig_list 1) (sprig_tuple 2) }}",
            "[1 2][1 2][0 1][1 2]",
        ),
        (
            "{{ sprig_uniq (sprig_list 1 2 1) }}{{ sprig_without (sprig_list 1 2 3) 1 3 }}{{ sprig_has 2 (sprig_list 1 2) }}{{ sprig_compact (sprig_list 0 1 \"\") }}{{ sprig_slice (sprig_list 1 2 3) 1 2 }}",
            "[1 2][2]true[1][2]",
        ),
        (
            "{{ $d := sprig_dict \"a\" 1 }}{{ $_ := sprig_set $d \"b\" 2 }}{{ $d }}{{ $_ := sprig_unset $d \"a\" }}{{ $d }}{{ sprig_get $d \"none\" }}{{ sprig_hasKey $d \"b\" }}",
            "map[a:1 b:2]map[b:2]true",
        ),
        (
            "{{ $d := sprig_dict \"a\" 1 \"b\" 2 }}{{ sprig_keys $d }}{{ sprig_values $d }}{{ sprig_pick $d \"a\" }}{{ sprig_omit $d \"a\" }}{{ sprig_pluck \"a\" $d (sprig_dict \"a\" 5) }}",
            "[a b][1 2]map[a:1]map[b:2][1 5]",
        ),
        (
            "{{ $d := sprig_dict \"a\" (sprig_dict \"b\" 1) }}{{ sprig_dig \"a\" \"b\" 0 $d }}{{ sprig_dig \"a\" \"x\" \"none\" $d }}{{ sprig_deepCopy $d }}",
            "1nonemap[a:map[b:1]]",
        ),
        (
            "{{ $a := sprig_dict \"x\" 1 }}{{ $b := sprig_dict \"x\" 2 \"y\" 3 }}{{ sprig_mergeOverwrite (sprig_deepCopy $a) $b }}{{ sprig_merge $a $b }}{{ $a }}",
            "map[x:2 y:3]map[x:1 y:3]map[x:1 y:3]",
        ),
    ]);
    expect_errors(&[
        ("{{ sprig_fail \"no luck\" }}", "sprig_fail: no luck"),
        ("{{ sprig_div 1 0 }}", "there is no result for 1 and 0"),
        ("{{ sprig_uuidv4 }}", "function \"sprig_uuidv4\" is not offered: the file would change"),
        ("{{ sprig_env \"HOME\" }}", "is denied to templates"),
        ("{{ sockaddr \"GetPrivateIP\" }}", "function \"sockaddr\" is not offered"),
    ]);
}
