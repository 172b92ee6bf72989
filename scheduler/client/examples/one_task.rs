//! A framework that launches one task on the first offer that has room for it, and follows it.
//!
//! ```text
//! weir certs init --directory certs
//! cargo run -p weir-client --example one_task -- 127.0.0.1:5151 certs framework-run
//! ```
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example speaks to whoever tries it")]

use std::path::Path;
use std::time::SystemTime;

use weir_client::{Event, Framework, FrameworkSettings, fresh};
use weir_protocol::{
    Action, Argv, Ceilings, Command, Environment, Filters, FrameworkCall, FrameworkInfo, Line,
    Millis, NetworkMode, Operation, Run, TaskSpec,
};
use weir_resources::{Labels, Resources};
use weir_transport::credentials::{CredentialFiles, CredentialState};
use weir_transport::{Credentials, PeerKind};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [scheduler, directory, certificate] = &arguments[..] else {
        return Err("say where: one_task HOST:PORT DIRECTORY framework-NAME".into());
    };
    let directory = Path::new(directory);
    let files = CredentialFiles {
        certificate: directory.join(format!("{certificate}.pem")),
        key: directory.join(format!("{certificate}-key.pem")),
        authorities: directory.join("ca.pem"),
        revocations: Some(directory.join("crl.pem")),
    };
    let credentials = Credentials::load(&files, &[PeerKind::Framework], SystemTime::now())?;

    let info = FrameworkInfo {
        name: Line::new("one task")?,
        role: "demo".parse()?,
        user: None,
        failover_timeout: Millis(60_000),
        unattended: false,
        capabilities: [].into(),
        labels: Labels::none(),
        weburl: None,
    };
    let settings = FrameworkSettings::new(info, Line::new(weir_client::SOFTWARE)?);
    let credentials = CredentialState::fixed(credentials);
    let mut framework = Framework::start(scheduler.parse()?, credentials, settings);

    let needs: Resources = "cpus:0.1;mem:32;port_blocks:1".parse()?;
    let mut task = Some(TaskSpec {
        id: fresh::task_id("hello")?,
        name: Line::new("hello")?,
        command: Command {
            run: Run::Argv(Argv::new(vec!["echo".to_owned(), "hello".to_owned()])?),
            environment: Environment::default(),
            user: None,
            working_directory: None,
        },
        resources: needs.clone(),
        network: NetworkMode::Isolated,
        kill_grace: Millis(5_000),
        labels: Labels::none(),
        ceilings: Ceilings::default(),
    });
    loop {
        match framework.next().await? {
            Event::Subscribed { id, again, .. } => {
                println!("subscribed as {id}");
                if again {
                    // Asks for everything there is: an update may have been missed.
                    let (tasks, operations) = (Vec::new(), Vec::new());
                    let ask = FrameworkCall::Reconcile { tasks, operations };
                    framework.call(ask).await?;
                }
            }
            Event::Offers(offers) => {
                for offer in offers {
                    let fits = offer.resources.contains(&needs);
                    let operations = match task.take_if(|_| fits) {
                        None => Vec::new(),
                        Some(task) => vec![Operation {
                            id: fresh::operation_id("launch")?,
                            action: Action::Launch(vec![task]),
                        }],
                    };
                    // Without an operation, an ACCEPT is a DECLINE.
                    let (offers, filters) = (vec![offer.id], Filters::default());
                    let accept = FrameworkCall::Accept {
                        offers,
                        operations,
                        filters,
                    };
                    framework.call(accept).await?;
                }
            }
            Event::Update(status) => {
                println!("{} is {}", status.task, status.state);
                framework.acknowledge(&status).await?;
                if status.state.is_terminal() {
                    framework.call(FrameworkCall::Teardown).await?;
                    framework.close().await;
                    return Ok(());
                }
            }
            Event::Refused { failure, .. } => println!("refused: {failure}; {}", failure.remedy),
            other @ (Event::Disconnected { .. }
            | Event::NotYet { .. }
            | Event::Rescinded { .. }
            | Event::Operation { .. }
            | Event::AgentLost { .. }) => println!("{other:?}"),
        }
    }
}
