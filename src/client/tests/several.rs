//! The same with several endpoints, of which some are dead, silent or stop.

use tokio::io::copy_bidirectional;
use tokio_util::sync::CancellationToken;

use super::*;

/// What is at an endpoint.
enum At<'a> {
    Script(&'a Arc<Script>),
    /// Refuses connections.
    Nobody,
    /// Takes connections, and nothing passes on them while it is frozen.
    Frozen(&'a Arc<Script>, CancellationToken),
}

/// Makes a client of endpoints on the ports 1, 2 and so on.
fn client_of_all(endpoints: &[At]) -> Client {
    let connectors: Vec<_> = endpoints.iter().map(connector_to).collect();
    let addresses: Vec<_> = (1..=endpoints.len()).map(|port| format!("h:{port}")).collect();
    let connect = |endpoint: &Endpoint| {
        let at = usize::from(endpoint.uri().port_u16().unwrap()) - 1;
        endpoint.connect_with_connector_lazy(connectors[at].clone())
    };
    Client::with_connector(&addresses.join(","), connect).unwrap()
}

fn connector_to(at: &At) -> Connect {
    match at {
        At::Script(script) => connector(script, Server::builder()),
        At::Nobody => BoxCloneSyncService::new(tower::service_fn(|_| {
            let refused = std::io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
            std::future::ready(Err(refused))
        })),
        At::Frozen(script, frozen) => {
            let (behind, frozen) = (connector(script, Server::builder()), frozen.clone());
            BoxCloneSyncService::new(tower::service_fn(move |uri| {
                let (mut behind, frozen) = (behind.clone(), frozen.clone());
                async move {
                    let far = tower::Service::call(&mut behind, uri).await?;
                    let (here, near) = tokio::io::duplex(64 * 1024);
                    tokio::spawn(pass(near, far.into_inner(), frozen));
                    Ok(TokioIo::new(here))
                }
            }))
        }
    }
}

/// Passes on what two sides say, and says nothing more, not even that it ended, once it is frozen.
async fn pass(mut near: DuplexStream, mut far: DuplexStream, frozen: CancellationToken) {
    tokio::select! {
        // Whoever cut it knows.
        _ = copy_bidirectional(&mut near, &mut far) => {}
        () = frozen.cancelled() => std::future::pending().await,
    }
}

/// A coordinator that answers nothing: it is paused, or packets to it are dropped.
fn silent(script: &Arc<Script>) -> At<'_> {
    let frozen = CancellationToken::new();
    frozen.cancel();
    At::Frozen(script, frozen)
}

fn script() -> Arc<Script> {
    Arc::default()
}

/// Answers approvals, as many as there are.
fn approving(times: usize) -> Arc<Script> {
    let script = script();
    *script.approvals.lock().unwrap() = (0..times).map(|_| Ok(gate("u", 1, GateStatus::Approved))).collect();
    script
}

/// Fails the test rather than let it try for ever.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(600), future).await.unwrap()
}

async fn approve(client: &Client) -> Result<Gate, Error> {
    client.approve(ApproveRequest { gate: "a".into(), ..ApproveRequest::default() }).await
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_at_once_from_a_dead_endpoint_and_stays_where_it_was_answered() {
    let live = approving(2);
    let client = client_of_all(&[At::Nobody, At::Nobody, At::Script(&live), At::Nobody]);
    let begin = Instant::now();
    approve(&client).await.unwrap();
    approve(&client.clone()).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(client.endpoints.turns_of_call().current(), 2);
}

#[tokio::test(start_paused = true)]
async fn silent_endpoints_leave_a_call_the_time_to_be_answered_and_are_left_then() {
    let (asked, live) = (script(), approving(2));
    let client = client_of_all(&[silent(&asked), silent(&asked), At::Script(&live)]);
    let begin = Instant::now();
    approve(&client).await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 4);
    approve(&client).await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_last_endpoint_has_the_whole_time_of_a_call() {
    // Both take the call and never answer it.
    let (one, other) = (script(), script());
    let begin = Instant::now();
    let error = approve(&client_of_all(&[At::Script(&one), At::Script(&other)])).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot reach http://h:1,http://h:2 (no answer in time)");
    assert_eq!(begin.elapsed().as_secs(), (calls::TIMEOUT_BEFORE_NEXT + calls::TIMEOUT).as_secs());
    let asked = [one, other].map(|script| script.approvals_asked.lock().unwrap().clone());
    assert!(asked[0].len() == 1 && asked[0] == asked[1] && !asked[0][0].request_id.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_is_repeated_elsewhere_with_the_same_request_id() {
    let (one, other) = (script(), approving(1));
    *one.approvals.lock().unwrap() = [Err(Status::unavailable("the reply is lost"))].into();
    approve(&client_of_all(&[At::Script(&one), At::Script(&other)])).await.unwrap();
    let asked = [one, other].map(|script| script.approvals_asked.lock().unwrap().clone());
    assert!(asked[0].len() == 1 && asked[0] == asked[1] && !asked[0][0].request_id.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_where_nobody_is_and_names_all() {
    let begin = Instant::now();
    let error = approve(&client_of_all(&[At::Nobody, At::Nobody])).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot reach http://h:1,http://h:2 (connection refused)");
    assert!((Duration::from_millis(500)..Duration::from_secs(2)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_one_too_many_goes_nowhere_before_it_may() {
    let (one, other) = (script(), approving(1));
    *one.approvals.lock().unwrap() = [too_soon(Duration::from_millis(1_500)), too_soon(Duration::from_secs(3))].into();
    let begin = Instant::now();
    let client = client_of_all(&[At::Script(&one), At::Script(&other)]);
    approve(&client).await.unwrap();
    assert_eq!(begin.elapsed().as_millis() / 100, 15);
    let error = approve(&client_of_all(&[At::Script(&one), At::Script(&other)])).await.unwrap_err();
    assert!(error.refusal("RATE_LIMITED").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_goes_on_only_if_it_was_never_sent() {
    let (one, other) = (script(), script());
    *one.deletions.lock().unwrap() = [Err(Status::unavailable("the reply is lost"))].into();
    *other.deletions.lock().unwrap() = [Ok(())].into();
    let delete = DeleteGateRequest { gate: "a".into(), etag: String::new() };

    let sent = client_of_all(&[At::Script(&one), At::Script(&other)]).delete(delete.clone()).await.unwrap_err();
    assert_eq!(sent.to_string(), "cannot reach http://h:1 (the reply is lost)");
    assert_eq!(other.deletions.lock().unwrap().len(), 1);

    client_of_all(&[At::Nobody, At::Script(&other)]).delete(delete.clone()).await.unwrap();

    let begin = Instant::now();
    let nobody = client_of_all(&[At::Nobody, At::Nobody]).delete(delete).await.unwrap_err();
    assert_eq!(nobody.to_string(), "cannot reach http://h:1,http://h:2 (connection refused)");
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_lost_wait_goes_on_at_the_next_endpoint_at_once_and_pauses_when_each_was_tried() {
    let waits = [script(), script()];
    let cut = || answers(vec![shows(1, GateStatus::Waiting)]);
    for script in &waits {
        *script.waits.lock().unwrap() = [cut(), answers(vec![shows(1, GateStatus::Approved)])].into();
    }
    let begin = Instant::now();
    let mut wait = client_of_all(&[At::Script(&waits[0]), At::Script(&waits[1])]).wait(request());
    let mut lost = Vec::new();
    while let Some(update) = soon(wait.next()).await.unwrap() {
        if let Update::Disconnected { error, retry_in } = update {
            lost.push((error.to_string(), retry_in.is_zero()));
        }
    }
    lost.sort();
    let told = |port| format!("cannot reach http://h:{port} (the stream ended before the round did)");
    assert_eq!(lost.iter().map(|(error, _)| error.clone()).collect::<Vec<_>>(), [told(1), told(2)]);
    assert_eq!(lost.iter().filter(|(_, at_once)| *at_once).count(), 1);
    assert!(begin.elapsed() < Duration::from_millis(201), "{:?}", begin.elapsed());
    // The round was named, wherever it was asked for.
    let rounds = waits.map(|script| script.waits_asked.lock().unwrap().iter().map(|asked| asked.round).collect());
    let mut rounds: Vec<Vec<u32>> = rounds.into();
    rounds.sort();
    assert_eq!(rounds, [vec![0, 1], vec![1]]);
}

#[tokio::test(start_paused = true)]
async fn streams_leave_an_endpoint_that_is_silent_and_one_that_falls_silent() {
    let frozen = CancellationToken::new();
    let (first, live) = (script(), script());
    let for_ever = || Box::pin(tokio_stream::once(shows(1, GateStatus::Waiting)).chain(tokio_stream::pending()));
    *first.waits.lock().unwrap() = [for_ever() as Answers<_>, for_ever()].into();
    let approved = || answers(vec![shows(1, GateStatus::Approved)]);
    *live.waits.lock().unwrap() = (0..4).map(|_| approved()).collect();
    let client = client_of_all(&[At::Frozen(&first, frozen.clone()), At::Script(&live)]);
    // One of each two begins at the first.
    let mut waits = [client.wait(request()), client.wait(request())];
    let mut told = Vec::new();
    for wait in &mut waits {
        let Ok(Some(Update::Gate(gate))) = soon(wait.next()).await else { panic!("it is not told of its gate") };
        told.push(gate.status());
    }
    told.sort();
    assert_eq!(told, [GateStatus::Waiting, GateStatus::Approved]);

    frozen.cancel();
    let begin = Instant::now();
    for wait in &mut waits {
        while let Some(update) = soon(wait.next()).await.unwrap() {
            assert!(
                matches!(&update, Update::Gate(gate) if gate.status() == GateStatus::Approved) || is_silence(&update)
            );
        }
    }
    assert!(begin.elapsed() <= Duration::from_secs(10), "{:?}", begin.elapsed());

    // And now it takes connections and says nothing from the beginning.
    let begin = Instant::now();
    for _ in 0..2 {
        assert!(matches!(soon(client.wait(request()).outcome()).await, Ok(Outcome::Approved(_))));
    }
    assert!((5..=10).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
}

fn is_silence(update: &Update) -> bool {
    matches!(update, Update::Disconnected { error: Error::Unreachable { address, .. }, .. } if address == "http://h:1")
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_after_what_it_saw_and_ends_where_another_store_is() {
    let created = |store_id: &str| Some(WatchCreated { revision: 4, store_id: store_id.into() });
    let event = crate::proto::Event { revision: 5, r#type: EventType::Voted.into(), ..Default::default() };
    let watches = [script(), script()];
    for (script, store_id) in watches.iter().zip(["s", "t"]) {
        let told =
            WatchResponse { created: created(store_id), events: vec![event.clone()], ..WatchResponse::default() };
        *script.watches.lock().unwrap() = [answers(vec![Ok(told)])].into();
    }
    let mut watch = client_of_all(&[At::Script(&watches[0]), At::Script(&watches[1])]).watch(WatchRequest::default());
    assert!(matches!(watch.next().await, Ok(Some(Notice::Event(event))) if event.revision == 5));
    let Ok(Some(Notice::Disconnected { error: Error::Unreachable { address: first, .. }, retry_in })) =
        watch.next().await
    else {
        panic!("it was not lost")
    };
    assert!(retry_in.is_zero());
    let Err(Error::Replaced { address: other, .. }) = watch.next().await else { panic!("the other store goes on") };
    let mut addresses = [first, other];
    addresses.sort();
    assert_eq!(addresses, ["http://h:1", "http://h:2"]);
    let mut asked: Vec<_> =
        watches.iter().map(|script| script.watches_asked.lock().unwrap()[0].start_revision).collect();
    asked.sort_unstable();
    assert_eq!(asked, [0, 6]);
}

#[tokio::test]
async fn a_token_goes_to_none_where_it_may_not_go_to_all() {
    let client = || Client::new("127.0.0.1:1,gates.test:2").unwrap();
    let error = client().with_token(Token::new("gp_secret")).unwrap_err().to_string();
    assert!(error.contains("http://gates.test:2") && !error.contains("127.0.0.1"), "{error}");
    let client = client().with_token(Token::new("gp_secret").even_over_http()).unwrap();
    assert_eq!(client.address(), "http://127.0.0.1:1,http://gates.test:2");
    let roots = Tls { roots: Some(b"roots".into()), identity: None };
    assert!(matches!(Client::with_tls("a:1,b:1", &roots), Err(Error::Tls { .. })));
}
