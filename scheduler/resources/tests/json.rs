//! Resources as JSON: golden texts, and refusals that say what and where.
#![forbid(unsafe_code)]

use weir_resources::Resources;

fn read(json: &str) -> String {
    Resources::from_json(json)
        .unwrap_or_else(|error| panic!("{json}: {error}"))
        .to_string()
}

fn refusal(json: &str) -> String {
    match Resources::from_json(json) {
        Ok(resources) => panic!("{json} is read as {resources}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_written_is_the_json_of_mesos() {
    for (text, json) in [
        ("", "[]"),
        (
            "cpus:0.5",
            r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":0.5}}]"#,
        ),
        (
            "mem:18446744073709551.615",
            r#"[{"name":"mem","type":"SCALAR","scalar":{"value":18446744073709551.615}}]"#,
        ),
        (
            "ports{REV}:[1-5,7-7]",
            r#"[{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":5},{"begin":7,"end":7}]},"revocable":{}}]"#,
        ),
        (
            "zones(db):{a,\"\\\"\\\\ \"}",
            r#"[{"name":"zones","type":"SET","set":{"item":["\"\\ ","a"]},"reservations":[{"type":"STATIC","role":"db"}]}]"#,
        ),
        (
            "disk(db,alice,{why=migration})[pgdata:data:rw]:10240",
            r#"[{"name":"disk","type":"SCALAR","scalar":{"value":10240},"reservations":[{"type":"DYNAMIC","role":"db","principal":"alice","labels":{"labels":[{"key":"why","value":"migration"}]}}],"disk":{"persistence":{"id":"pgdata"},"volume":{"container_path":"data","mode":"RW"}}}]"#,
        ),
        (
            "cpus:1;cpus(db,bob):1",
            r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":1}},{"name":"cpus","type":"SCALAR","scalar":{"value":1},"reservations":[{"type":"DYNAMIC","role":"db","principal":"bob"}]}]"#,
        ),
    ] {
        let resources: Resources = text.parse().unwrap();
        assert_eq!(resources.to_json(), json);
        assert_eq!(Resources::from_json(json), Ok(resources));
        serde_json::from_str::<serde_json::Value>(json).expect("others read it as well");
    }
}

#[test]
fn the_older_form_of_a_reservation_is_read() {
    assert_eq!(
        read(r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"*"}]"#),
        "cpus:1"
    );
    assert_eq!(
        read(r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"db"}]"#),
        "cpus(db):1"
    );
    assert_eq!(
        read(
            r#"[{"role":"db","reservation":{"principal":"alice"},"scalar":{"value":1},"type":"SCALAR","name":"cpus"}]"#
        ),
        "cpus(db, alice):1"
    );
}

#[test]
fn whitespace_order_and_escapes_do_not_matter() {
    assert_eq!(
        read(
            " [\n\t{ \"set\" : { \"item\" : [ \"\\u0061\" , \"\\u00e9\\ud83d\\ude00\\/\" ] } , \"type\" : \"SET\" , \"name\" : \"zones\" , \"reservations\" : [ ] }\r\n] "
        ),
        "zones:{a, é😀/}"
    );
}

#[test]
fn refusals_say_what_where_and_what_to_write() {
    let cpus = |rest: &str| format!(r#"[{{"name":"cpus","type":"SCALAR",{rest}}}]"#);
    for (json, message) in [
        (String::new(), "line 1, column 1: expected `[`, found the end of the text"),
        ("{}".into(), "line 1, column 1: expected `[`, found `{`"),
        ("[] []".into(), "line 1, column 4: expected the end, found `[`"),
        ("[[]]".into(), "line 1, column 2: expected `{`, found `[`"),
        ("[{}]".into(), "line 1, column 2: key `name` is missing from what begins here"),
        ("[{},]".into(), "line 1, column 2: key `name` is missing from what begins here"),
        (
            "[\n  {\"name\": \"cpus\"}]".into(),
            "line 2, column 3: key `type` is missing from what begins here",
        ),
        (cpus(""), "line 1, column 33: expected a key in quotes, found `}`"),
        (cpus(r#""scalar":{}"#), "line 1, column 42: key `value` is missing from what begins here"),
        (cpus(r#""scalar":1"#), "line 1, column 42: expected `{`, found `1`"),
        (cpus(r#""scalar":{"value":-1}"#), "line 1, column 51: expected a digit, found `-`"),
        (cpus(r#""scalar":{"value":"1"}"#), "line 1, column 51: expected a digit, found `\"`"),
        (cpus(r#""scalar":{"value":1e3}"#), "line 1, column 52: expected `,` or `}`, found `e`"),
        (
            cpus(r#""scalar":{"value":1.0005}"#),
            "line 1, column 56: a fourth decimal; an amount has three at most",
        ),
        (
            cpus(r#""scalar":{"value":0}"#),
            "line 1, column 2: there is nothing in `cpus`: the amount is 0; leave it out",
        ),
        (
            cpus(r#""scalar":{"value":1},"scalar":{"value":1}"#),
            "line 1, column 54: key `scalar` is there twice",
        ),
        (
            cpus(r#""ranges":{"range":[]}"#),
            "line 1, column 33: key `ranges` cannot stand beside type SCALAR",
        ),
        (
            cpus(r#""scalar":{"value":1},"set":{"item":[]}"#),
            "line 1, column 54: key `set` cannot stand beside type SCALAR",
        ),
        (
            cpus(r#""scalar":{"value":1},"shared":{}"#),
            "line 1, column 54: unknown key `shared`; known are `name`, `type`, `scalar`, `ranges`, `set`, `role`, `reservation`, `reservations`, `disk` and `revocable`",
        ),
        (
            r#"[{"name":"cpus","type":"scalar"}]"#.into(),
            "line 1, column 24: `scalar` is not known here; write SCALAR, RANGES or SET",
        ),
        (
            cpus(r#""scalar":{"value":1},"role":"a/b""#),
            "line 1, column 61: `a/b` cannot be a role: `/` at position 2; a role has no slash, backslash, whitespace or invisible character and no leading `-`",
        ),
        (
            cpus(r#""scalar":{"value":1},"reservation":{"principal":"p"}"#),
            "line 1, column 54: key `reservation` cannot stand beside no `role`, or role `*`",
        ),
        (
            cpus(r#""scalar":{"value":1},"role":"db","reservations":[]"#),
            "line 1, column 54: key `role` cannot stand beside `reservations`",
        ),
        (
            cpus(r#""scalar":{"value":1},"reservations":[{"type":"STATIC","role":"a"},{"type":"STATIC","role":"b"}]"#),
            "line 1, column 69: 2 reservations of one resource; a resource has at most one",
        ),
        (
            cpus(r#""scalar":{"value":1},"reservations":[{"type":"STATIC","role":"a","principal":"p"}]"#),
            "line 1, column 98: key `principal` cannot stand beside type STATIC",
        ),
        (
            cpus(r#""scalar":{"value":1},"reservations":[{"type":"DYNAMIC","role":"a"}]"#),
            "line 1, column 70: key `principal` is missing from what begins here",
        ),
        (
            cpus(r#""scalar":{"value":1},"reservations":[{"type":"STATIC","role":"*"}]"#),
            "line 1, column 94: `*` cannot be a role: it means that nobody has reserved it",
        ),
        (
            cpus(r#""scalar":{"value":1},"role":"db","revocable":{}"#),
            "line 1, column 2: revocable `cpus` cannot be reserved for `db`: it can be taken back at any time",
        ),
        (
            cpus(r#""scalar":{"value":1},"revocable":true"#),
            "line 1, column 66: expected `{`, found `t`",
        ),
        (
            cpus(r#""scalar":{"value":1},"disk":{"persistence":{"id":"i","principal":"p"}}"#),
            "line 1, column 86: unknown key `principal`; known are `id`",
        ),
        (
            r#"[{"name":"p","type":"RANGES","ranges":{"range":[{"begin":5,"end":1}]}}]"#.into(),
            "line 1, column 49: range 5-1 runs backwards; write 1-5",
        ),
        (
            r#"[{"name":"p","type":"RANGES","ranges":{"range":[{"begin":1,"end":5},{"begin":5,"end":6}]}}]"#.into(),
            "line 1, column 39: ranges 1-5 and 5-6 overlap in 5-5; each number may be named once",
        ),
        (
            r#"[{"name":"p","type":"RANGES","ranges":{"range":[{"begin":1.5,"end":5}]}}]"#.into(),
            "line 1, column 59: expected `,` or `}`, found `.`",
        ),
        (
            r#"[{"name":"p","type":"SET","set":{"item":["a","a"]}}]"#.into(),
            "line 1, column 33: item `a` is named twice",
        ),
        (
            r#"[{"name":"p","type":"SET","set":{"item":["\ud83d\u0061"]}}]"#.into(),
            "line 1, column 43: `\\` and what follows are no character; write `\\n`, `\\u00e9` or the like",
        ),
        (
            r#"[{"name":"p","type":"SET","set":{"item":["\x"]}}]"#.into(),
            "line 1, column 43: `\\` and what follows are no character; write `\\n`, `\\u00e9` or the like",
        ),
        (
            "[{\"name\":\"p\n\"}]".into(),
            "line 1, column 12: expected a closing `\"`, found `\\n`",
        ),
        (
            r#"[{"name":"p","type":"SCALAR","scalar":{"value":1}},
{"name":"p","type":"SET","set":{"item":["a"]}}]"#.into(),
            "line 2, column 1: `p` is a scalar here and a set there; a name has one type",
        ),
        (format!("[{{\"{}\":1}}]", "k".repeat(1000)), &format!(
            "line 1, column 3: unknown key `{}…`; known are `name`, `type`, `scalar`, `ranges`, `set`, `role`, `reservation`, `reservations`, `disk` and `revocable`",
            "k".repeat(24)
        )),
    ] {
        assert_eq!(refusal(&json), message, "for {json}");
    }
}
