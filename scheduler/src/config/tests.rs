//! The configuration, as people write it.

use std::path::{Path, PathBuf};

use weir_protocol::Line;
use weir_resources::{Principal, Role};

use super::*;
use crate::ledger::{Act, Caller, Policy as _, Verdict};

const SHIPPED: &str = include_str!("../../dist/scheduler.toml");

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, &PathBuf::from("scheduler.toml"))
}

/// Turns each `# key = value` into `key = value`; prose has no ` = `.
fn uncommented(text: &str) -> String {
    let is_setting = |line: &str| {
        line.strip_prefix("# ")
            .and_then(|rest| rest.split_once(" = "))
            .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    text.lines()
        .map(|line| if is_setting(line) { &line[2..] } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_shipped_file_changes_no_default() {
    assert_eq!(parse(SHIPPED).unwrap(), Config::default());
}

#[test]
fn the_shipped_file_shows_the_defaults_there_are() {
    let text = uncommented(SHIPPED);
    assert_ne!(text, SHIPPED);
    assert_eq!(parse(&text).unwrap(), Config::default());
}

#[test]
fn the_shipped_file_shows_every_key() {
    let shown: toml::Table = toml::from_str(&uncommented(SHIPPED)).unwrap();
    for (table, keys) in [
        ("scheduler", SchedulerConfig::KEYS),
        ("tls", TlsConfig::KEYS),
        ("http", HttpConfig::KEYS),
        ("offers", OffersConfig::KEYS),
        ("agents", AgentsConfig::KEYS),
        ("frameworks", FrameworksConfig::KEYS),
        ("roles", RolesConfig::KEYS),
        ("access", AccessConfig::KEYS),
    ] {
        let mut shown: Vec<&str> = shown[table]
            .as_table()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut known = keys.to_vec();
        shown.sort_unstable();
        known.sort_unstable();
        assert_eq!(shown, known, "[{table}]");
    }
}

#[test]
fn the_examples_of_the_shipped_file_are_rules() {
    let examples: String = SHIPPED
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("# ")?;
            (rest.starts_with("[[") || rest.starts_with("    ")).then(|| format!("{rest}\n"))
        })
        .collect();
    let access = parse(&examples).unwrap().access;
    assert_eq!((access.frameworks.len(), access.operators.len()), (1, 1));
}

#[test]
fn the_defaults_are_the_ledgers_own() {
    let config = Config::default();
    assert_eq!(
        config.ledger_settings(),
        Settings::new(Line::new("weir").unwrap())
    );
}

#[test]
fn an_unknown_key_is_refused_where_it_stands() {
    let error = parse("[offers]\ntimeout_ms = 5\n  timout_ms = 5\n").unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("scheduler.toml:3:3: "), "{message}");
    assert!(message.contains("timout_ms"), "{message}");
}

#[test]
fn an_impossible_value_is_refused_where_it_stands() {
    for (text, expected) in [
        (
            "[tls]\nkey = \"key.pem\"\n",
            "scheduler.toml:2:7: [tls] key = \"key.pem\" is not an absolute path; begin it with /",
        ),
        (
            "[agents]\nremoval_ms = 75\n",
            "scheduler.toml:2:14: [agents] removal_ms = 75 is not between 15000 and ",
        ),
        (
            "[agents]\nremoval_ms = 700000\n",
            "scheduler.toml: [agents] return_ms = 600000 is less than removal_ms = 700000",
        ),
        (
            "[scheduler]\nlisten = []\n",
            "scheduler.toml:2:10: [scheduler] listen has 0 addresses",
        ),
        (
            "[scheduler]\nlisten = [\"[::]:1\", \"[::]:1\"]\n",
            "scheduler.toml:2:10: [scheduler] listen names [::]:1 twice",
        ),
        (
            "[scheduler]\nlog_filter = \"=!!,[\"\n",
            "scheduler.toml:2:14: [scheduler] log_filter",
        ),
        (
            "[roles]\nknown = [\"a\"]\nweights = { b = 2 }\n",
            "scheduler.toml:3:11: [roles] weights has one for `b`, which is not in known",
        ),
        ("[roles]\nweights = { b = 0 }\n", "scheduler.toml:2:"),
        (
            "[[access.operators]]\nprincipals = []\npowers = [\"list\"]\n",
            "scheduler.toml:2:14: an empty list is about nobody",
        ),
        (
            "[[access.operators]]\nprincipals = [\"*\", \"a\"]\npowers = [\"list\"]\n",
            "scheduler.toml:2:14: \"*\" beside other names",
        ),
        (
            "[[access.operators]]\nprincipals = [\"a\"]\npowers = [\"fly\"]\n",
            "scheduler.toml:3:",
        ),
    ] {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}\n{expected}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nonexistent/scheduler.toml")).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("/nonexistent/scheduler.toml"), "{message}");
}

#[test]
fn any_text_is_a_configuration_or_an_error_of_one_line() {
    let settings: String = uncommented(SHIPPED)
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    let check = |text: &str| match parse(text) {
        Ok(config) => config.check().unwrap(),
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    };
    bolero::check!()
        .with_type::<(Vec<(u16, u8, u8)>, String)>()
        .with_iterations(500)
        .for_each(|(edits, text)| {
            const PIECES: [&str; 10] = ["", "\"", "{", "]", "=", "-1", "0", "\n", "é", "*"];
            check(text);
            let mut characters: Vec<char> = settings.chars().collect();
            for (at, cut, piece) in edits.iter().take(4) {
                let at = usize::from(*at) % (characters.len() + 1);
                let end = (at + usize::from(cut % 4)).min(characters.len());
                let piece = PIECES[usize::from(*piece) % PIECES.len()];
                characters.splice(at..end, piece.chars());
            }
            check(&characters.into_iter().collect::<String>());
        });
}

fn role(text: &str) -> Role {
    Role::new(text).unwrap()
}

fn principal(text: &str) -> Principal {
    Principal::new(text).unwrap()
}

const RULES: &str = r#"
[roles]
known = ["db", "web"]

[access]
otherwise = "refuse"

[[access.frameworks]]
principals = ["pg"]
roles = ["db"]
reserve = true
users = ["postgres"]

[[access.frameworks]]
principals = ["pg", "ci"]
roles = ["web"]

[[access.operators]]
principals = ["alice"]
roles = ["db"]
powers = ["list", "unreserve", "drain"]

[[access.operators]]
principals = ["root"]
powers = ["list", "reserve", "set-weight"]
"#;

#[test]
fn a_framework_may_do_what_some_rule_allows() {
    let rights = parse(RULES).unwrap().rights();
    let judge = |who: &str, act: Act<'_>| rights.judge(Caller::Framework(&principal(who)), act);
    let (db, web, other) = (role("db"), role("web"), role("other"));
    let postgres: Line = Line::new("postgres").unwrap();
    let root: Line = Line::new("root").unwrap();
    assert_eq!(judge("pg", Act::Subscribe(&db)), Verdict::Allowed);
    assert_eq!(judge("pg", Act::Subscribe(&web)), Verdict::Allowed);
    assert_eq!(judge("ci", Act::Subscribe(&db)), Verdict::Refused);
    assert_eq!(judge("who", Act::Subscribe(&web)), Verdict::Refused);
    assert_eq!(judge("pg", Act::Subscribe(&other)), Verdict::RoleUnknown);
    assert_eq!(judge("pg", Act::Reserve(&db)), Verdict::Allowed);
    assert_eq!(judge("pg", Act::Reserve(&web)), Verdict::Refused);
    assert_eq!(judge("pg", Act::Create(&db)), Verdict::Refused);
    let launch = |role, user| Act::Launch { role, user };
    assert_eq!(judge("pg", launch(&db, None)), Verdict::Allowed);
    assert_eq!(judge("pg", launch(&db, Some(&postgres))), Verdict::Allowed);
    assert_eq!(judge("pg", launch(&db, Some(&root))), Verdict::Refused);
    assert_eq!(judge("pg", launch(&web, Some(&postgres))), Verdict::Refused);
    let (own, others) = (principal("pg"), principal("ci"));
    let unreserve = |by| Act::Unreserve { role: &db, by };
    assert_eq!(judge("pg", unreserve(&own)), Verdict::Allowed);
    assert_eq!(judge("pg", unreserve(&others)), Verdict::Refused);
}

#[test]
fn an_operator_has_the_powers_that_some_rule_gives() {
    let rights = parse(RULES).unwrap().rights();
    let judge = |who: &str, act: Act<'_>| rights.judge(Caller::Operator(&principal(who)), act);
    let (db, web, other) = (role("db"), role("web"), role("other"));
    let by = principal("pg");
    assert_eq!(judge("alice", Act::List), Verdict::Allowed);
    assert_eq!(judge("alice", Act::Drain), Verdict::Allowed);
    assert_eq!(judge("alice", Act::Remove), Verdict::Refused);
    assert_eq!(judge("alice", Act::Reserve(&db)), Verdict::Refused);
    let unreserve = |role| Act::Unreserve { role, by: &by };
    assert_eq!(judge("alice", unreserve(&db)), Verdict::Allowed);
    assert_eq!(judge("alice", unreserve(&web)), Verdict::Refused);
    assert_eq!(judge("root", Act::Reserve(&web)), Verdict::Allowed);
    assert_eq!(judge("root", Act::SetWeight(&other)), Verdict::RoleUnknown);
    assert_eq!(judge("bob", Act::List), Verdict::Refused);
}

#[test]
fn without_rules_a_certificate_is_enough() {
    let rights = Config::default().rights();
    let web = role("web");
    let root: Line = Line::new("root").unwrap();
    let caller = principal("anybody");
    let launch = Act::Launch {
        role: &web,
        user: Some(&root),
    };
    assert_eq!(
        rights.judge(Caller::Framework(&caller), launch),
        Verdict::Allowed
    );
    assert_eq!(
        rights.judge(Caller::Operator(&caller), Act::Remove),
        Verdict::Allowed
    );
}
