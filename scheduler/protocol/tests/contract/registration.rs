//! Registrations of any length come through whole, and nothing else passes for one.

use weir_protocol::agent::RegistrationError;
use weir_protocol::{
    AgentCall, CallId, Numbered, Registration, RegistrationReader, RegistrationStep, encode,
    registration_calls,
};

use crate::samples;

fn registration(count: usize) -> Vec<AgentCall> {
    let tasks = (0..count).map(|index| samples::agent_task(&format!("web.{index}")));
    registration_calls(samples::registration(), tasks.collect())
}

#[test]
fn a_registration_of_any_length_comes_through_whole() {
    for count in [0, 1, 2, 5_000, 20_000] {
        let calls = registration(count);
        let mut reader = RegistrationReader::default();
        let last = calls.len() - 1;
        for (index, call) in calls.into_iter().enumerate() {
            let numbered = Numbered {
                id: CallId::FIRST,
                call: call.clone(),
            };
            encode(numbered, &mut Vec::new()).unwrap();
            match reader.handle_call(call).unwrap() {
                RegistrationStep::More => assert!(index < last),
                RegistrationStep::Complete(registration, tasks) => {
                    assert_eq!(index, last);
                    assert_eq!(usize::try_from(registration.tasks_total), Ok(count));
                    let named = tasks.iter().map(|task| task.id.to_string());
                    assert!(named.eq((0..count).map(|index| format!("web.{index}"))));
                }
                RegistrationStep::Other(call) => panic!("{call:?}"),
            }
        }
    }
}

#[test]
fn other_calls_pass_once_it_is_complete() {
    let mut reader = RegistrationReader::default();
    for call in registration(1) {
        reader.handle_call(call).unwrap();
    }
    assert_eq!(
        reader.handle_call(AgentCall::Unregister),
        Ok(RegistrationStep::Other(AgentCall::Unregister))
    );
}

#[test]
fn a_second_registration_begins_anew() {
    let mut reader = RegistrationReader::default();
    let mut calls = registration(2);
    reader.handle_call(calls.remove(0)).unwrap();
    let mut last = None;
    for call in registration(1) {
        last = Some(reader.handle_call(call).unwrap());
    }
    let Some(RegistrationStep::Complete(_, tasks)) = last else {
        panic!("{last:?}");
    };
    assert_eq!(tasks.len(), 1);
}

#[test]
fn what_is_no_registration_is_refused_with_both_numbers() {
    let refusal = |calls: Vec<AgentCall>| {
        let mut reader = RegistrationReader::default();
        let mut answers = calls.into_iter().map(|call| reader.handle_call(call));
        let error = answers.find_map(Result::err).unwrap();
        assert!(!error.failure().remedy.is_empty());
        error.to_string()
    };
    let register = |total| {
        AgentCall::Register(Box::new(Registration {
            tasks_total: total,
            ..samples::registration()
        }))
    };
    let tasks = |count: usize| {
        let tasks = (0..count).map(|index| samples::agent_task(&format!("web.{index}")));
        AgentCall::Tasks(tasks.collect())
    };
    assert_eq!(
        refusal(vec![tasks(3)]),
        "TASKS names 3 tasks, and no REGISTER before it announced any"
    );
    assert_eq!(
        refusal(vec![register(2), tasks(3)]),
        "TASKS names 3 tasks in all, and REGISTER announced 2"
    );
    assert_eq!(
        refusal(vec![register(2), tasks(1), AgentCall::Unregister]),
        "UNREGISTER comes after 1 of 2 tasks of a registration"
    );
    let twice = refusal(vec![register(2), tasks(1), tasks(1)]);
    assert!(twice.ends_with("/web.0 is named twice"), "{twice}");
}

#[test]
fn a_registration_does_not_grow_beyond_what_is_kept_of_an_agent() {
    let ragged: Vec<String> = (1..60_000_u32)
        .step_by(2)
        .map(|p| format!("{p}-{p}"))
        .collect();
    let heavy = samples::resources(&format!("ports:[{}]", ragged.join(",")));
    let mut reader = RegistrationReader::default();
    let register = AgentCall::Register(Box::new(Registration {
        tasks_total: 60_000,
        ..samples::registration()
    }));
    reader.handle_call(register).unwrap();
    let refused = (0..1000).find_map(|index| {
        let task = weir_protocol::AgentTask {
            resources: heavy.clone(),
            ..samples::agent_task(&format!("web.{index}"))
        };
        reader.handle_call(AgentCall::Tasks(vec![task])).err()
    });
    let Some(RegistrationError::TooLong { bytes, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(bytes < 2 * weir_protocol::bounds::REGISTRATION_BYTES_MAX);
}

#[test]
fn nothing_is_begun_after_an_error() {
    let mut reader = RegistrationReader::default();
    let mut calls = registration(2);
    reader.handle_call(calls.remove(0)).unwrap();
    reader.handle_call(AgentCall::Unregister).unwrap_err();
    assert!(matches!(
        reader.handle_call(calls.remove(0)),
        Err(RegistrationError::NotBegun { count: 2 })
    ));
}
