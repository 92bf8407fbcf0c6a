//! A worker that deploys once somebody has approved: `cargo run --example worker -- release-42/db`.

use gatepost::client::{Client, Error, Outcome};
use gatepost::proto::{Duration, Spec, WaitRequest, Waiter};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let gate = std::env::args().nth(1).unwrap_or_else(|| "release-42/db".to_owned());
    let client = Client::new("http://127.0.0.1:7070")?;

    // With a spec the gate is created where it is missing; the first wait starts the five minutes.
    let spec = Spec {
        title: "Deploy to production?".to_owned(),
        timeout: Some(Duration { seconds: 300, nanos: 0 }),
        ..Spec::default()
    };
    let waiter = Waiter { id: format!("worker-{}", std::process::id()), ..Waiter::default() };
    let request = WaitRequest { gate, spec: Some(spec), waiter: Some(waiter), ..WaitRequest::default() };

    println!("waiting for a decision on {}", request.gate);
    match client.wait(request).outcome().await? {
        // The round and the revision tell this approval from every other: hand them on as a fencing token.
        Outcome::Approved(gate) => println!("deploying, on round {} at revision {}", gate.round, gate.revision),
        Outcome::Rejected(gate) => println!("stopped: {}", gate.resolution.unwrap_or_default().reason),
        Outcome::TimedOut(_) => println!("stopped: nobody decided in time"),
    }
    Ok(())
}
