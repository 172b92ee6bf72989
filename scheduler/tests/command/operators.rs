//! Commands of operators: what they ask, and how the answers look.

use std::fs;
use std::path::Path;

use weir_protocol::operator::{
    AgentEntry, AgentState, Cursor, FrameworkEntry, FrameworkState, Holder, Listing, OfferEntry,
    ReservationEntry, RoleEntry, TaskEntry, VolumeEntry, Weight,
};
use weir_protocol::{
    AgentId, AgentInfo, AgentName, Answered, ErrorCode, Exit, Failure, FrameworkId, FrameworkInfo,
    Line, Millis, NetworkMode, Note, Numbered, Offer, OfferId, OperatorAnswer, OperatorCall,
    Reason, SetVersion, Source, TaskId, TaskKey, TaskOwner, TaskState, TaskStatus, UnixMs,
    VolumeSizes,
};
use weir_resources::{Attributes, Kind, Labels, ResourceOperation, Resources};
use weir_transport::PeerKind;

use super::stage::{Scheduler, Stage, Talk, assert_done, assert_exit, stderr, stdout};

/// Set to write the files anew instead of comparing.
const REWRITE: &str = "WEIR_REWRITE_GOLDEN";

/// Later than any clock, so that ages are 0.
const LATER: UnixMs = UnixMs(200_000_000_000_000);

type OperatorTalk = Talk<Answered, Numbered<OperatorCall>>;

/// Runs a command, and answers each call that it makes.
async fn answer(
    stage: &Stage,
    words: &[&str],
    answers: Vec<OperatorAnswer>,
) -> (std::process::Output, Vec<OperatorCall>) {
    let mut scheduler = Scheduler::start(stage);
    let command = stage.start(&scheduler, words);
    let mut talk: OperatorTalk = scheduler.greet(PeerKind::Operator).await;
    let mut calls = Vec::new();
    for answer in answers {
        let Numbered { id, call } = talk.hear().await;
        calls.push(call);
        let call = Some(id);
        talk.say(Answered { call, answer }).await;
    }
    assert!(talk.is_over().await, "no more is asked");
    (command.output().await, calls)
}

fn done(note: &str) -> OperatorAnswer {
    OperatorAnswer::Done {
        notes: vec![Note::new(note).unwrap()],
    }
}

fn line<const MAX: usize>(text: &str) -> Line<MAX> {
    Line::new(text).unwrap()
}

fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

fn n1() -> AgentName {
    AgentName::new("n1").unwrap()
}

const AGENT: AgentId = AgentId::from_bits(1);
const FRAMEWORK: FrameworkId = FrameworkId::from_bits(7);
const TOTAL: &str = "cpus:8;mem:16384;disk:102400;disk(db, anna)[pgdata:data:rw]:10240;\
                     ports:[31000-31999];port_blocks:24";

fn task_key() -> TaskKey {
    TaskKey {
        framework: FRAMEWORK,
        task: TaskId::new("web.1").unwrap(),
    }
}

fn task_entry() -> TaskEntry {
    TaskEntry {
        owner: TaskOwner {
            framework: FRAMEWORK,
            framework_name: line("shop"),
            principal: "shop".parse().unwrap(),
            role: "web".parse().unwrap(),
            failover_timeout: Millis(1_000),
            unattended: false,
        },
        id: TaskId::new("web.1").unwrap(),
        name: line("web"),
        agent: Some((AGENT, n1())),
        resources: resources(
            "cpus:0.5;mem:1500;ports:[31000-31001];port_blocks:1;disk(web, anna)[pgdata:data:rw]:128",
        ),
        network: NetworkMode::Isolated,
        labels: Labels::none(),
        status: TaskStatus {
            task: TaskId::new("web.1").unwrap(),
            state: TaskState::Failed,
            agent: Some(AGENT),
            source: Source::Executor,
            reason: Some(Reason::CommandFailed),
            message: Some(Note::new("exited with 3\nsee its output").unwrap()),
            timestamp: LATER,
            update: None,
            exit: Some(Exit::Code(3)),
        },
        volume_sizes: Some(VolumeSizes::Accounted),
    }
}

fn agent_entry() -> AgentEntry {
    AgentEntry {
        id: AGENT,
        agent: AgentInfo {
            name: n1(),
            hostname: line("n1.example"),
            addresses: ["192.0.2.7".parse().unwrap()].into(),
            attributes: "rack:a1".parse::<Attributes>().unwrap(),
            resources: resources("cpus:8"),
            volume_sizes: VolumeSizes::Accounted,
        },
        state: AgentState::Draining,
        software: line("weir-agent 0.1.0"),
        registered: UnixMs(1_795_000_000_000),
        set_version: SetVersion(17),
        total: resources(TOTAL),
        used: resources("cpus:0.5;mem:1500"),
        offered: resources("cpus:2;mem:1024"),
        revocable: resources("cpus{REV}:2.5"),
        tasks: 1,
    }
}

fn framework_entry() -> FrameworkEntry {
    FrameworkEntry {
        id: FRAMEWORK,
        framework: FrameworkInfo {
            name: line("shop"),
            role: "web".parse().unwrap(),
            user: None,
            failover_timeout: Millis(604_800_000),
            unattended: false,
            capabilities: [].into(),
            labels: Labels::none(),
            weburl: Some(line("https://shop.example")),
        },
        principal: "shop".parse().unwrap(),
        state: FrameworkState::Suppressed,
        subscribed: UnixMs(1_795_000_000_000),
        used: resources("cpus:0.5;mem:1500"),
        offered: Resources::new(),
        tasks: 1,
        offers: 0,
    }
}

fn whole<T>(entries: Vec<T>) -> Listing<T> {
    Listing {
        entries,
        next: None,
    }
}

/// Every list, with what is answered.
fn lists() -> Vec<(&'static [&'static str], OperatorAnswer)> {
    let roles = || {
        OperatorAnswer::Roles(whole(vec![RoleEntry {
            role: "db".parse().unwrap(),
            weight: Weight::new("2.5".parse().unwrap()).unwrap(),
            frameworks: 3,
            allocated: resources("cpus:12.5;mem:20480"),
            reserved: resources("disk(db):10240"),
            dominant_share_millionths: 333_333,
        }]))
    };
    vec![
        (
            &["agents"],
            OperatorAnswer::Agents(whole(vec![agent_entry()])),
        ),
        (
            &["offers"],
            OperatorAnswer::Offers(whole(vec![OfferEntry {
                offer: Offer {
                    id: OfferId::from_bits(5),
                    agent: AGENT,
                    agent_name: n1(),
                    hostname: line("n1.example"),
                    addresses: [].into(),
                    attributes: Attributes::default(),
                    resources: resources(TOTAL),
                    kind: Kind::Regular,
                    expires_after: Some(Millis(60_000)),
                    volume_sizes: VolumeSizes::Accounted,
                },
                framework: FRAMEWORK,
                framework_name: line("shop"),
                role: "web".parse().unwrap(),
                offered: LATER,
            }])),
        ),
        (&["roles"], roles()),
        (&["weights"], roles()),
        (
            &["frameworks"],
            OperatorAnswer::Frameworks(whole(vec![framework_entry()])),
        ),
        (
            &["tasks", "--all"],
            OperatorAnswer::Tasks(whole(vec![task_entry()])),
        ),
        (
            &["reservations", "--agent", "n1"],
            OperatorAnswer::Reservations(whole(vec![ReservationEntry {
                agent: AGENT,
                agent_name: n1(),
                resources: resources("cpus(db, anna):2;mem(db, anna):2048;disk(web):10"),
                holder: Holder::Offered(FRAMEWORK),
            }])),
        ),
        (
            &["volume", "list"],
            OperatorAnswer::Volumes(whole(vec![VolumeEntry {
                agent: AGENT,
                agent_name: n1(),
                volume: resources("disk(db, anna)[pgdata:data:rw]:10240").as_slice()[0].clone(),
                holder: Holder::Used(task_key()),
                sizes: VolumeSizes::Accounted,
            }])),
        ),
    ]
}

#[tokio::test]
async fn lists_look_as_they_were_reviewed() {
    let stage = Stage::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/command/golden");
    for (words, told) in lists() {
        for json in [false, true] {
            let mut words = words.to_vec();
            let name = words[0];
            let extension = if json { "json" } else { "txt" };
            if json {
                words.push("--json");
            }
            let (output, calls) = answer(&stage, &words, vec![told.clone()]).await;
            assert_done(&output);
            assert_eq!(calls.len(), 1);
            let path = directory.join(format!("{name}.{extension}"));
            if std::env::var_os(REWRITE).is_some() {
                fs::create_dir_all(&directory).unwrap();
                fs::write(&path, stdout(&output)).unwrap();
            }
            let reviewed = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(
                stdout(&output),
                reviewed,
                "{name} looks different; if that is meant, run this test with {REWRITE}=1"
            );
        }
    }
}

#[tokio::test]
async fn a_long_list_is_asked_for_in_parts() {
    let stage = Stage::new();
    let part = |name: &str, next: Option<&str>| {
        let mut entry = agent_entry();
        entry.agent.name = AgentName::new(name).unwrap();
        OperatorAnswer::Agents(Listing {
            entries: vec![entry],
            next: next.map(|next| Cursor(line(next))),
        })
    };
    let answers = vec![part("n1", Some("after n1")), part("n2", None)];
    let (output, calls) = answer(&stage, &["agents"], answers).await;
    assert!(stdout(&output).contains("\nn1 ") && stdout(&output).contains("\nn2 "));
    let OperatorCall::ListAgents(page) = &calls[1] else {
        panic!("a list is asked for");
    };
    assert_eq!(page.after, Some(Cursor(line("after n1"))));
}

#[tokio::test]
async fn a_reservation_is_the_operators_own() {
    let stage = Stage::new();
    let words = [
        "reserve",
        "--agent",
        "n1",
        "--role",
        "db",
        "cpus:2;mem:2048;disk:10240",
        "--operation-id",
        "mine",
        "--json",
    ];
    let (output, calls) = answer(&stage, &words, vec![done("offers were taken back")]).await;
    assert_done(&output);
    let [
        OperatorCall::Change {
            operation,
            agent,
            change: ResourceOperation::Reserve(reserved),
        },
    ] = &calls[..]
    else {
        panic!("one RESERVE, and not {calls:?}");
    };
    assert_eq!((operation.as_str(), agent.as_str()), ("mine", "n1"));
    assert_eq!(
        *reserved,
        resources("cpus(db, admin):2;mem(db, admin):2048;disk(db, admin):10240")
    );
    assert!(stderr(&output).contains("note: offers were taken back"));
    let told: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(told["operation_id"], "mine");
}

#[tokio::test]
async fn a_volume_is_created_on_reserved_disk_and_destroyed_as_it_is() {
    let stage = Stage::new();
    let words = [
        "volume",
        "create",
        "--agent",
        "n1",
        "--role",
        "db",
        "--size",
        "10240",
        "--reserve",
        "pgdata",
    ];
    let answers = vec![
        done(""),
        done("the size of volume `pgdata` is not enforced"),
    ];
    let (output, calls) = answer(&stage, &words, answers).await;
    assert_done(&output);
    let names: Vec<&str> = calls.iter().map(OperatorCall::name).collect();
    assert_eq!(names, ["RESERVE", "CREATE_VOLUMES"]);
    assert!(stderr(&output).contains("is not enforced"));

    let (_, told) = lists().pop().unwrap();
    let words = [
        "volume", "destroy", "--agent", "n1", "--role", "db", "pgdata",
    ];
    let (output, calls) = answer(&stage, &words, vec![told, done("")]).await;
    assert_done(&output);
    let Some(OperatorCall::Change {
        change: ResourceOperation::Destroy(volume),
        ..
    }) = calls.last()
    else {
        panic!("DESTROY, and not {calls:?}");
    };
    assert_eq!(*volume, resources("disk(db, anna)[pgdata:data:rw]:10240"));
}

#[tokio::test]
async fn a_task_is_killed_by_its_id_alone_if_that_is_enough() {
    let stage = Stage::new();
    let tasks = OperatorAnswer::Tasks(whole(vec![task_entry()]));
    let words = ["kill", "web.1", "--grace", "30s"];
    let (output, calls) = answer(&stage, &words, vec![tasks, done("")]).await;
    assert_done(&output);
    let killed = OperatorCall::KillTask {
        task: task_key(),
        grace: Some(Millis(30_000)),
    };
    assert_eq!(calls.last(), Some(&killed));
}

#[tokio::test]
async fn a_refusal_is_told_with_its_remedy() {
    let stage = Stage::new();
    let refusal = OperatorAnswer::Failed(Failure::new(
        ErrorCode::AgentUnknown,
        "no agent is called n1",
        "`weir agents` lists them",
    ));
    let (output, _) = answer(&stage, &["drain", "n1"], vec![refusal]).await;
    assert_exit(&output, 2);
    assert_eq!(
        stderr(&output),
        "weir: DRAIN_AGENT was refused: no agent is called n1\ntry: `weir agents` lists them\n"
    );
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_not_repeated_but_can_be() {
    let stage = Stage::new();
    let mut scheduler = Scheduler::start(&stage);
    let words = ["unreserve", "--agent", "n1", "--role", "db", "cpus:2"];
    let command = stage.start(&scheduler, &words);
    let mut talk: OperatorTalk = scheduler.greet(PeerKind::Operator).await;
    let OperatorCall::Change { operation, .. } = talk.hear().await.call else {
        panic!("a change is asked for");
    };
    drop(talk);
    let output = command.output().await;
    assert_exit(&output, 1);
    let repeat = format!("--operation-id {operation}");
    assert!(stderr(&output).contains(&repeat), "{}", stderr(&output));
}
