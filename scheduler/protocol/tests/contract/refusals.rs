//! What is wrong with a message is told with the field, what stands in it, and what to do.

use weir_protocol::bounds::{
    LINE_BYTES_MAX, OFFER_IDS_MAX, OPERATIONS_MAX, RESOURCES_MAX, SET_MAX, TASK_BYTES_MAX,
    TASKS_PER_LAUNCH_MAX, WORDS_MAX,
};
use weir_protocol::wire::framework_call::{Accept, Call, Subscribe};
use weir_protocol::{
    AgentInfo, Argv, Environment, Estimate, FrameworkCall, Hello, Invalid, Launch, Millis, Offer,
    ResourceSet, SetVersion, Shell, TaskSpec, WorkingDirectory, check_size, wire,
};
use weir_resources::Resources;

use crate::samples;

/// Returns what is said of a call with one thing wrong.
fn refused(call: Call) -> String {
    let invalid = FrameworkCall::try_from(call).unwrap_err();
    assert!(!invalid.remedy().is_empty());
    invalid.to_string()
}

fn accept(change: impl FnOnce(&mut Accept)) -> String {
    let sample = samples::all().into_iter().find_map(|(_, message)| {
        let samples::Message::FrameworkCall(numbered) = message else {
            return None;
        };
        if let Call::Accept(accept) = numbered.call.into() {
            Some(accept)
        } else {
            None
        }
    });
    let mut accept = sample.unwrap();
    change(&mut accept);
    refused(Call::Accept(accept))
}

/// Returns what is said of an ACCEPT with one thing wrong in the first task that it launches.
fn task(change: impl FnOnce(&mut wire::TaskSpec)) -> String {
    accept(|accept| {
        let launch = accept.operations.last_mut().unwrap();
        let Some(wire::operation::Operation::Launch(launch)) = &mut launch.operation else {
            panic!("the last operation of the sample is a launch");
        };
        change(&mut launch.tasks[0]);
    })
}

fn subscribe(change: impl FnOnce(&mut wire::FrameworkInfo)) -> String {
    let mut framework = samples::framework_info().into();
    change(&mut framework);
    refused(Call::Subscribe(Subscribe {
        framework: Some(framework),
        framework_id: None,
        force: false,
    }))
}

fn offer(change: impl FnOnce(&mut wire::Offer)) -> String {
    let mut offer = samples::offer().into();
    change(&mut offer);
    Offer::try_from(offer).unwrap_err().to_string()
}

fn scalar(name: &str, thousandths: u64) -> wire::Resource {
    wire::Resource {
        name: name.to_owned(),
        value: Some(wire::resource::Value::ScalarThousandths(thousandths)),
        ..wire::Resource::default()
    }
}

#[test]
fn a_refusal_names_the_field_down_to_the_entry() {
    assert_eq!(
        task(|task| task.resources[1].name.clear()),
        "field `accept.operations[4].launch.tasks[0].resources[1].name`: the name of a resource cannot \
         be empty"
    );
    assert_eq!(
        task(|task| task.name.clear()),
        "field `accept.operations[4].launch.tasks[0].name`: it is empty"
    );
    assert_eq!(
        accept(|accept| accept.offer_ids[1] = "O17".to_owned()),
        "field `accept.offer_ids[1]`: \"O17\" is not an offer id: those are 26 letters of a-z and 2-7"
    );
    assert_eq!(
        subscribe(|framework| framework.role = "*".to_owned()),
        "field `subscribe.framework.role`: `*` cannot be a role: it means that nobody has reserved it"
    );
}

#[test]
fn what_must_be_there_is_missed() {
    let missing = "it is missing";
    assert!(task(|task| task.command = None).ends_with(missing));
    assert!(task(|task| task.network = 0).ends_with(missing));
    assert!(task(|task| task.resources.clear()).ends_with("it is empty"));
    assert!(accept(|accept| accept.offer_ids.clear()).ends_with("it is empty"));
    assert!(accept(|accept| accept.operations[0].operation = None).ends_with(missing));
    assert!(offer(|offer| offer.volume_sizes = 0).ends_with(missing));
}

#[test]
fn numbers_that_this_version_does_not_have_are_refused() {
    assert!(task(|task| task.network = 9).ends_with("9 is no NetworkMode of this version"));
    assert!(
        subscribe(|framework| framework.capabilities.push(7)).ends_with(
            "`subscribe.framework.capabilities[1]`: 7 is no FrameworkCapability of this version"
        )
    );
    assert!(offer(|offer| offer.kind = -1).ends_with("-1 is no OfferKind of this version"));
}

#[test]
fn bounds_are_named_with_what_went_beyond_them() {
    let id = samples::offer_id(1).to_string();
    assert_eq!(
        accept(|accept| accept.offer_ids = vec![id.clone(); OFFER_IDS_MAX + 1]),
        "field `accept.offer_ids`: 1025 entries are too many; at most 1024"
    );
    let too_many = |accept: &mut Accept| {
        let operation = accept.operations[0].clone();
        accept.operations = vec![operation; OPERATIONS_MAX + 1];
    };
    assert!(accept(too_many).ends_with("257 entries are too many; at most 256"));
    let tasks = |accept: &mut Accept| {
        let launch = wire::Launch {
            tasks: vec![samples::script().into(); TASKS_PER_LAUNCH_MAX + 1],
        };
        accept.operations[0].operation = Some(wire::operation::Operation::Launch(launch));
    };
    assert!(accept(tasks).ends_with("launch.tasks`: 1025 entries are too many; at most 1024"));
    assert_eq!(
        accept(|accept| accept.filters.as_mut().unwrap().refuse_ms = Some(u64::MAX)),
        "field `accept.filters.refuse_ms`: 18446744073709551615 is not within 0 to 31536000000"
    );
    assert!(
        task(|task| task.name = "x".repeat(LINE_BYTES_MAX + 1))
            .ends_with("256 bytes are too long; at most 255")
    );
    assert!(
        task(|task| task.resources = vec![scalar("cpus", 1); RESOURCES_MAX + 1])
            .ends_with("4097 entries are too many; at most 4096")
    );
    let long = |task: &mut wire::TaskSpec| {
        let variable = |index| wire::EnvironmentVariable {
            name: format!("V{index}"),
            value: "x".repeat(100 * 1024),
        };
        let command = task.command.as_mut().unwrap();
        command.environment = (0..6).map(variable).collect();
    };
    let message = task(long);
    assert!(
        message.ends_with(&format!("are too many; at most {TASK_BYTES_MAX}")),
        "{message}"
    );
}

#[test]
fn resources_that_no_node_can_have_are_refused() {
    let wrong = |list: Vec<wire::Resource>| task(|task| task.resources = list);
    assert!(wrong(vec![scalar("cpus", 0)]).ends_with("the amount is 0; leave it out"));
    assert!(
        wrong(vec![scalar("cpus", u64::MAX), scalar("cpus", 1)])
            .contains("more than can be counted")
    );
    let ports = |first, last| wire::Resource {
        name: "ports".to_owned(),
        value: Some(wire::resource::Value::Ranges(wire::Ranges {
            ranges: vec![wire::Range { first, last }],
        })),
        ..wire::Resource::default()
    };
    assert!(wrong(vec![ports(31009, 31000)]).ends_with(
        "resources[0].ranges.ranges[0]`: range 31009-31000 runs backwards; write 31000-31009"
    ));
    assert!(wrong(vec![ports(1, 9), ports(5, 7)]).contains("is there twice"));
    let mut lent = scalar("cpus", 1);
    lent.revocable = true;
    lent.reservation = Some(wire::resource::Reservation::StaticReservation(
        wire::StaticReservation {
            role: "db".to_owned(),
        },
    ));
    assert!(wrong(vec![lent]).contains("revocable `cpus` cannot be reserved for `db`"));
}

#[test]
fn an_offer_is_of_one_kind() {
    assert!(
        offer(|offer| offer.resources[0].revocable = true)
            .ends_with("is not of the kind of the offer")
    );
    assert!(offer(|offer| offer.resources.clear()).ends_with("it is empty"));
    assert_eq!(
        offer(|offer| offer.addresses.push("n1".to_owned())),
        "field `addresses[2]`: \"n1\" is no IPv4 or IPv6 address"
    );
}

#[test]
fn a_nodes_own_resources_are_of_no_operation() {
    let mut info: wire::AgentInfo = samples::agent_info().into();
    let checkpointed = samples::resources(samples::CHECKPOINTED);
    info.resources
        .extend(checkpointed.iter().map(wire::Resource::from));
    let invalid: Invalid = AgentInfo::try_from(info).unwrap_err();
    assert!(
        invalid
            .to_string()
            .ends_with("is not unreserved or statically reserved, as a node's total is"),
        "{invalid}"
    );
    assert_eq!(invalid.path(), "resources");
}

#[test]
fn a_ceiling_that_no_link_has_is_refused() {
    for kilobits in [0, 10_000_000_001] {
        let refused = task(|task| {
            task.ceilings = Some(wire::Ceilings {
                egress_kbit: None,
                ingress_kbit: Some(kilobits),
            });
        });
        assert!(refused.contains("ceilings.ingress_kbit"), "{refused}");
        assert!(refused.contains(&kilobits.to_string()), "{refused}");
    }
}

#[test]
fn a_status_is_of_the_task_that_it_stands_beside() {
    let mut task: wire::AgentTask = samples::agent_task("web.1").into();
    task.task_id = "web.2".to_owned();
    assert_eq!(
        weir_protocol::AgentTask::try_from(task)
            .unwrap_err()
            .to_string(),
        "field `status.task_id`: it is `web.1`, and `task_id` is `web.2`"
    );
}

#[test]
fn a_set_is_bounded_so_that_its_agent_can_register() {
    let set = |count: usize| {
        let volumes = (0..count).map(|index| format!("disk(db, anna)[v{index}:data:rw]:1"));
        let text = volumes.collect::<Vec<_>>().join("; ");
        ResourceSet::new(SetVersion(1), samples::resources(&text))
    };
    assert!(set(SET_MAX).is_ok());
    assert_eq!(
        set(SET_MAX + 1).unwrap_err().to_string(),
        "a set of reservations and volumes cannot be that long: 2049 entries of resources are too many; \
         at most 2048"
    );
    let plain = ResourceSet::new(SetVersion(1), samples::resources("cpus:1"));
    assert_eq!(
        plain.unwrap_err().to_string(),
        "`cpus:1` is neither dynamically reserved nor a volume, so no set holds it"
    );
}

#[test]
fn ports_may_be_as_ragged_as_they_can_be() {
    let every_second: Vec<String> = (1..=65_535_u32)
        .step_by(2)
        .map(|p| format!("{p}-{p}"))
        .collect();
    let ragged: Resources = samples::resources(&format!("ports:[{}]", every_second.join(",")));
    assert_eq!(check_size(&ragged), Ok(()));
    let mut offer: wire::Offer = samples::offer().into();
    offer.resources = ragged.iter().map(wire::Resource::from).collect();
    assert_eq!(Offer::try_from(offer).unwrap().resources, ragged);
}

#[test]
fn commands_that_run_nowhere_are_refused() {
    let refusal = |words: &[&str]| {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        Argv::new(words).unwrap_err().to_string()
    };
    assert_eq!(refusal(&[]), "there is no program");
    assert_eq!(refusal(&[""]), "there is no program");
    assert_eq!(
        refusal(&["a", "b\0c"]),
        "word 1 holds a NUL byte, where the kernel would end it"
    );
    assert_eq!(
        refusal(&["x"; WORDS_MAX + 1]),
        "4097 are too many; at most 4096"
    );
    assert!(Shell::new("").is_err() && Shell::new("a\0").is_err());
    let environment =
        |name: &str, value: &str| Environment::new(vec![(name.to_owned(), value.to_owned()); 1]);
    for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "\0")] {
        assert!(environment(name, value).is_err(), "{name:?} {value:?}");
    }
    let twice = Environment::new(vec![("A".to_owned(), String::new()); 2]);
    assert_eq!(
        twice.unwrap_err().to_string(),
        "variable \"A\" is there twice"
    );
    for path in ["", "srv", "/srv/../etc", "/a\0b"] {
        assert!(WorkingDirectory::new(path).is_err(), "{path:?}");
    }
    assert!(WorkingDirectory::new("/srv/..data").is_ok());
}

#[test]
fn the_values_of_an_environment_are_not_logged() {
    let secret = Environment::new(vec![("TOKEN".to_owned(), "hunter2".to_owned())]).unwrap();
    let printed = format!("{secret:?}");
    assert!(
        printed.contains("TOKEN") && !printed.contains("hunter2"),
        "{printed}"
    );
}

#[test]
fn an_estimate_lends_what_can_be_taken_back() {
    let regular = Estimate::new(1, Millis(1), samples::resources("cpus:1"));
    assert_eq!(
        regular.unwrap_err().to_string(),
        "`cpus:1` is not revocable, so it cannot be lent as idle"
    );
    assert!(Estimate::new(1, Millis(0), Resources::new()).is_err());
    assert!(
        Estimate::new(1, Millis(1), Resources::new()).is_ok(),
        "nothing is idle"
    );
}

#[test]
fn a_greeting_that_makes_no_sense_is_refused() {
    let hello = |change: &dyn Fn(&mut wire::Hello)| {
        let mut hello = samples::hello().into();
        change(&mut hello);
        Hello::try_from(hello).unwrap_err().to_string()
    };
    assert_eq!(
        hello(&|hello| hello.protocol_min = 4),
        "field `protocol_max`: versions 4 to 3 are none; versions count from 1"
    );
    assert!(hello(&|hello| hello.protocol_min = 0).contains("versions count from 1"));
    assert!(hello(&|hello| hello.software.clear()).ends_with("`software`: it is empty"));
    assert!(hello(&|hello| hello.capabilities.push("a b".to_owned())).contains("capabilities[2]"));
}

#[test]
fn the_longest_task_that_is_taken_can_be_launched() {
    let variable = |index| (format!("V{index}"), "x".repeat(127 * 1024));
    let mut spec = samples::task_spec();
    spec.command.environment = Environment::new((0..4).map(variable).collect()).unwrap();
    let taken = TaskSpec::try_from(wire::TaskSpec::from(spec)).unwrap();
    let launch = weir_protocol::AgentEvent::Launch(Box::new(Launch {
        operation: samples::operation_key(),
        owner: samples::owner(),
        task: taken,
    }));
    weir_protocol::encode(launch, &mut Vec::new()).unwrap();
}
