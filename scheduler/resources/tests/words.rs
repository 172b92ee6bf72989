//! What roles, principals, volumes and paths can be called.
#![forbid(unsafe_code)]

use weir_resources::{ContainerPath, Principal, ResourceName, Role, VolumeId};

#[test]
fn roles_keep_the_rules_of_mesos() {
    for good in [
        "db",
        "a-b",
        "web.2",
        "ä",
        "a:b",
        "...",
        "*x",
        &"r".repeat(255),
    ] {
        assert!(Role::new(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "*",
        ".",
        "..",
        "-db",
        "a/b",
        "a\\b",
        "a b",
        "a\tb",
        "a\u{7f}b",
        "a\u{200b}b",
        "a\u{a0}b",
        &"r".repeat(256),
    ] {
        assert!(Role::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_id_of_a_volume_is_one_plain_component_of_a_path() {
    for good in [
        "pgdata",
        "-",
        "*",
        "a b",
        "...",
        ".hidden",
        &"é".repeat(127),
    ] {
        assert!(VolumeId::new(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "a\\b",
        "a\0",
        "a\n",
        &"é".repeat(128),
    ] {
        assert!(VolumeId::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_path_of_a_volume_stays_in_the_sandbox() {
    for good in ["data", "a/b/c", "a b", ".hidden", "...", "a\\b"] {
        assert!(ContainerPath::new(good).is_ok(), "{good}");
    }
    let (long, longest) = ("x".repeat(256), format!("{}y", "x/".repeat(512)));
    for bad in [
        "", "/", "/data", ".", "..", "../data", "a/..", "a/./b", "a//b", "a/", "a\0b", &long,
        &longest,
    ] {
        assert!(ContainerPath::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn principals_and_names_are_words() {
    assert!(Principal::new("weir-operator@example.org/a").is_ok());
    assert!(Principal::new("a b").is_err() && Principal::new("").is_err());
    assert!(ResourceName::new("nvidia.com/gpu").is_ok());
    assert!(ResourceName::new("2cpus").is_err() && ResourceName::new("cpu(s").is_err());
}

#[test]
fn a_word_is_its_text_in_json_and_checked_there() {
    let role: Role = serde_json::from_str("\"db\"").unwrap();
    assert_eq!(serde_json::to_string(&role).unwrap(), "\"db\"");
    let error = serde_json::from_str::<Role>("\"a/b\"").unwrap_err();
    assert!(
        error.to_string().starts_with("`a/b` cannot be a role"),
        "{error}"
    );
    let error = serde_json::from_str::<Role>("1").unwrap_err();
    assert!(
        error.to_string().contains("expected a role as text"),
        "{error}"
    );
}
