//! The text of resources: golden texts, and refusals that say what and where.
#![forbid(unsafe_code)]

use weir_resources::{Resource, Resources};

fn read(text: &str) -> String {
    text.parse::<Resources>()
        .unwrap_or_else(|error| panic!("{text:?}: {error}"))
        .to_string()
}

fn refusal(text: &str) -> String {
    match text.parse::<Resources>() {
        Ok(resources) => panic!("{text:?} is read as {resources}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_text_of_mesos_is_read() {
    assert_eq!(
        read("cpus:4;mem:1024;ports:[31000-32000];disk(role):10"),
        "cpus:4; disk(role):10; mem:1024; ports:[31000-32000]"
    );
    assert_eq!(read("zones:{b,a};gpus(*):1"), "gpus:1; zones:{a, b}");
    assert_eq!(read(""), "");
    assert_eq!(read("  "), "");
}

#[test]
fn reservations_volumes_and_revocable_resources_have_a_text() {
    for text in [
        "cpus(db, alice):0.5",
        "cpus(db, alice, {why=migration}):0.5",
        "cpus(db, alice, {owner=\"the \\\"data\\\" team\", ticket=\"\"}):0.5",
        "disk(db)[pgdata:data:rw]:10240",
        "disk(db, alice)[pgdata:data/pg:ro]:10240",
        "disk(db)[\"a b\":\"c:d\":rw]:1",
        "cpus{REV}:2",
        "ports{REV}:[1-5, 7-7]",
        "zones:{\"\\\\\", \"a,b\", c}",
    ] {
        assert_eq!(read(text), text);
    }
}

#[test]
fn spaces_and_order_do_not_matter() {
    assert_eq!(
        read(
            " mem : 1024 ; cpus ( db , alice , { b = c , a = d } ) : 1.5 ; ports : [ 7 - 9 , 1 - 2 ] ; cpus { REV } : 1 ; disk ( db ) [ id : path : rw ] : 3 "
        ),
        "cpus(db, alice, {a=d, b=c}):1.5; cpus{REV}:1; disk(db)[id:path:rw]:3; mem:1024; ports:[1-2, 7-9]"
    );
}

#[test]
fn what_is_named_in_parts_is_put_together() {
    assert_eq!(
        read("cpus:1;ports:[1-3];cpus:0.25;ports:[4-5];cpus:0.125;ports:[9-9];z:{b};z:{c};z:{a}"),
        "cpus:1.375; ports:[1-5, 9-9]; z:{a, b, c}"
    );
}

#[test]
fn amounts_are_exact() {
    for (text, amount) in [
        ("0.001", "0.001"),
        ("1.500", "1.5"),
        ("10.010", "10.01"),
        ("18446744073709551.615", "18446744073709551.615"),
        ("9007199254740993.001", "9007199254740993.001"),
    ] {
        assert_eq!(read(&format!("cpus:{text}")), format!("cpus:{amount}"));
    }
}

#[test]
fn refusals_say_what_where_and_what_to_write() {
    for (text, message) in [
        (
            "cpus",
            "expected `(`, `[`, `{REV}` or `:` at position 5, found the end of the text",
        ),
        (
            "cpus:",
            "expected an amount, `[` or `{` at position 6, found the end of the text",
        ),
        (
            ":4",
            "expected the name of a resource at position 1, found `:`",
        ),
        (
            "cpus:4;",
            "expected the name of a resource at position 8, found the end of the text",
        ),
        (
            "cpus:4;;mem:1",
            "expected the name of a resource at position 8, found `;`",
        ),
        (
            "cpus:0",
            "at position 1: there is nothing in `cpus`: the amount is 0; leave it out",
        ),
        (
            "mem:1;cpus:0.000",
            "at position 7: there is nothing in `cpus`: the amount is 0; leave it out",
        ),
        (
            "ports:[]",
            "at position 1: there is nothing in `ports`: no range is named; leave it out",
        ),
        (
            "zones:{}",
            "at position 1: there is nothing in `zones`: no item is named; leave it out",
        ),
        (
            "cpus:-1",
            "expected an amount, `[` or `{` at position 6, found `-`",
        ),
        (
            "cpus:+1",
            "expected an amount, `[` or `{` at position 6, found `+`",
        ),
        (
            "cpus:nan",
            "expected an amount, `[` or `{` at position 6, found `n`",
        ),
        (
            "cpus:inf",
            "expected an amount, `[` or `{` at position 6, found `i`",
        ),
        (
            "cpus:1e3",
            "expected `;` or the end at position 7, found `e`",
        ),
        (
            "cpus:1.",
            "expected a decimal at position 8, found the end of the text",
        ),
        (
            "cpus:.5",
            "expected an amount, `[` or `{` at position 6, found `.`",
        ),
        (
            "cpus:1x10",
            "expected `;` or the end at position 7, found `x`",
        ),
        (
            "cpus:1 000",
            "expected `;` or the end at position 8, found `0`",
        ),
        (
            "cpus:1,5",
            "expected `;` or the end at position 7, found `,`",
        ),
        (
            "cpus:04",
            "at position 6: the amount has a leading zero; write it without",
        ),
        (
            "cpus:4;mem:1.2345",
            "at position 17: a fourth decimal; an amount has three at most",
        ),
        (
            "cpus:1.0000",
            "at position 11: a fourth decimal; an amount has three at most",
        ),
        (
            "cpus:18446744073709551.616",
            "at position 6: the amount is too large; the largest is 18446744073709551.615",
        ),
        (
            "cpus:18446744073709551;cpus(a):0.615;cpus(b):0.001",
            "at position 38: 18446744073709551.615 and 0.001 of `cpus` are more than can be counted; the most is 18446744073709551.615",
        ),
        (
            "cpus:four",
            "expected an amount, `[` or `{` at position 6, found `f`",
        ),
        (
            "cpus:4:5",
            "expected `;` or the end at position 7, found `:`",
        ),
        ("cpus(:4", "expected a role at position 6, found `:`"),
        ("cpus():4", "expected a role at position 6, found `)`"),
        ("cpus(db:4", "expected `,` or `)` at position 8, found `:`"),
        (
            "cpus)db(:4",
            "expected `(`, `[`, `{REV}` or `:` at position 5, found `)`",
        ),
        (
            "cpus(db)(web):4",
            "expected `[`, `{REV}` or `:` at position 9, found `(`",
        ),
        (
            "cpus(..):4",
            "at position 6: `..` cannot be a role: it is a place in every directory, and this becomes a directory of its own",
        ),
        (
            "cpus(a/b):4",
            "at position 6: `a/b` cannot be a role: `/` at position 2; a role has no slash, backslash, whitespace or invisible character and no leading `-`",
        ),
        (
            "cpus(*, alice):4",
            "at position 6: `*` cannot be a role: it means that nobody has reserved it",
        ),
        (
            "cpus(\"*\"):4",
            "at position 6: `*` cannot be a role: it means that nobody has reserved it",
        ),
        (
            "cpus(db, ):4",
            "expected a principal at position 10, found `)`",
        ),
        (
            "cpus(db, a, {}):4",
            "expected the key of a label at position 14, found `}`",
        ),
        (
            "cpus(db, a, {k}):4",
            "expected `=` at position 15, found `}`",
        ),
        (
            "cpus(db, a, {k=}):4",
            "expected the value of a label at position 16, found `}`",
        ),
        (
            "cpus(db, a, {k=1,k=2}):4",
            "at position 13: label `k` is there twice",
        ),
        ("cpus{rev}:4", "expected `{REV}` at position 5, found `{`"),
        (
            "cpus(db){REV}:4",
            "at position 1: revocable `cpus` cannot be reserved for `db`: it can be taken back at any time",
        ),
        (
            "disk[id:path:rw]:4",
            "at position 1: volume `id` is on unreserved disk; reserve the disk for a role first",
        ),
        (
            "mem(db)[id:path:rw]:4",
            "at position 1: volume `id` cannot be made of `mem`; only `disk` can be a volume",
        ),
        (
            "disk(db)[id:path:rw]:[1-4]",
            "at position 1: volume `id` cannot be made of ranges; its disk is a scalar, its size",
        ),
        (
            "disk(db)[..:path:rw]:4",
            "at position 10: `..` cannot be the id of a volume: it is a place in every directory, and this becomes a directory of its own",
        ),
        (
            "disk(db)[id:/path:rw]:4",
            "at position 13: `/path` cannot be the path of a volume in a container: `/` at position 1; the path is relative to the sandbox and has no invisible character",
        ),
        (
            "disk(db)[id:a/../b:rw]:4",
            "at position 13: `..` cannot be a component of the path of a volume in a container: it is a place in every directory, and this becomes a directory of its own",
        ),
        (
            "disk(db)[id:path]:4",
            "expected `:` at position 17, found `]`",
        ),
        (
            "disk(db)[id:path:rx]:4",
            "expected `rw` or `ro` at position 18, found `r`",
        ),
        (
            "disk(db)[id:path:rw]:4;disk(db)[id:q:rw]:4",
            "at position 24: role `db` has a volume `id` already, of 4",
        ),
        (
            "disk(db)[id:p:rw]:4;disk(db, a)[id:p:rw]:5",
            "at position 21: role `db` has a volume `id` already, of 4",
        ),
        (
            "ports:[1,2]",
            "expected `-` and the last number of the range at position 9, found `,`",
        ),
        (
            "ports:[5]",
            "expected `-` and the last number of the range at position 9, found `]`",
        ),
        (
            "ports:[5-1]",
            "at position 8: range 5-1 runs backwards; write 1-5",
        ),
        (
            "ports:[1-2",
            "expected `,` or `]` at position 11, found the end of the text",
        ),
        (
            "ports:1-2]",
            "expected `;` or the end at position 8, found `-`",
        ),
        (
            "ports:[1-2,]",
            "expected a number at position 12, found `]`",
        ),
        ("ports:[-1-2]", "expected a number at position 8, found `-`"),
        (
            "ports:[1.5-2]",
            "expected `-` and the last number of the range at position 9, found `.`",
        ),
        (
            "ports:[01-2]",
            "at position 8: number `01` has a leading zero; write it without",
        ),
        (
            "ports:[0-18446744073709551616]",
            "at position 10: number `18446744073709551616` is too large; the largest is 18446744073709551615",
        ),
        (
            "ports:[5-9,1-5]",
            "at position 7: ranges 1-5 and 5-9 overlap in 5-5; each number may be named once",
        ),
        (
            "ports:[1-5];ports:[5-9]",
            "at position 13: 5-5 of `ports` is there twice",
        ),
        (
            "ports:[1-5];ports(db):[4-9]",
            "at position 13: 4-5 of `ports` is there twice",
        ),
        ("zones:{a,a}", "at position 7: item `a` is named twice"),
        (
            "zones:{a};zones(db):{a}",
            "at position 11: `a` of `zones` is there twice",
        ),
        (
            "zones:{a b}",
            "expected `,` or `}` at position 10, found `b`",
        ),
        (
            "zones:{\"a}",
            "expected a closing `\"` at position 11, found the end of the text",
        ),
        (
            "zones:{\"\\n\"}",
            "expected `\"` or `\\` after `\\` at position 10, found `n`",
        ),
        (
            "zones:{\"\u{202e}\"}",
            "at position 8: `\\u{202e}` cannot be an item of a set: `\\u{202e}` at position 1; an item has no invisible character",
        ),
        (
            "mem:[1-2];cpus:1;mem(db):5",
            "at position 18: `mem` is ranges here and a scalar there; a name has one type",
        ),
        (
            "1cpus:4",
            "at position 1: `1cpus` cannot be the name of a resource: `1` at position 1; use letters, digits, `_`, `-`, `.` and `/`, and begin with a letter",
        ),
        (
            "çpus:4",
            "at position 1: `çpus` cannot be the name of a resource: `ç` at position 1; use letters, digits, `_`, `-`, `.` and `/`, and begin with a letter",
        ),
        (
            "zones:{é};cpus:x",
            "expected an amount, `[` or `{` at position 16, found `x`",
        ),
        (
            "cpus:4\nmem:1",
            "expected `;` or the end at position 7, found `\\n`",
        ),
    ] {
        assert_eq!(refusal(text), message, "for {text:?}");
    }
}

#[test]
fn a_word_that_is_too_long_is_not_repeated() {
    let error = refusal(&format!("cpus({}):4", "a".repeat(256)));
    assert_eq!(
        error,
        "at position 6: a role of 256 bytes is too long; at most 255"
    );
}

#[test]
fn one_resource_is_read_alone() {
    let error = "cpus:4;mem:1".parse::<Resource>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected the end at position 7, found `;`"
    );
    assert_eq!("cpus:4".parse::<Resource>().unwrap().to_string(), "cpus:4");
}

#[test]
fn long_texts_of_small_parts_take_no_time_to_speak_of() {
    let parts = |from: u32| -> Vec<String> {
        (from..4_000)
            .map(|index| format!("ports:[{}-{0}];a{index}:1", index * 2))
            .collect()
    };
    let all: Resources = parts(0).join(";").parse().unwrap();
    assert_eq!(all.len(), 4_001);
    let twice = format!("{};ports:[4-4]", parts(0).join(";"));
    let error = twice.parse::<Resources>().unwrap_err();
    assert_eq!(error.position(), twice.len() - "ports:[4-4]".len() + 1);
}
