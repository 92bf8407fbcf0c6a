//! Attempts against receivers of every kind.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::coordinator::Topic;
use crate::domain::{Prefix, WebhookName};
use crate::webhooks::settings::{Keys, url};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn webhook(address: SocketAddr, timeout: Duration) -> Webhook {
    Webhook {
        name: WebhookName::parse("name", "ops").unwrap(),
        url: url(&format!("http://{address}/t0ken?key=t0ken")).unwrap(),
        format: Format::Standard(Keys::parse(KEY).unwrap()),
        topics: Topic::ALL.to_vec(),
        prefix: Prefix::parse("prefix", "").unwrap(),
        warn_before: Duration::ZERO,
        timeout,
        max_pause: Duration::ZERO,
        give_up_after: Duration::ZERO,
    }
}

/// Serves until the test ends. The answer may depend on the path.
async fn serve<R: IntoResponse>(answer: impl Fn(String) -> R + Clone + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handle = move |request: Request| {
        let answer = answer(request.uri().path().to_owned()).into_response();
        async move { answer }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handle)).await });
    address
}

/// Takes everything, and tells what came.
async fn record() -> (SocketAddr, mpsc::UnboundedReceiver<(HeaderMap, Bytes)>) {
    let (seen, requests) = mpsc::unbounded_channel();
    let handle = move |headers: HeaderMap, body: Bytes| {
        seen.send((headers, body)).unwrap();
        async {}
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handle)).await });
    (address, requests)
}

async fn post(address: SocketAddr) -> Result<(), Failure> {
    Http::new().unwrap().post(&webhook(address, Duration::from_secs(60)), "id", "{}".to_owned()).await
}

#[tokio::test]
async fn what_arrives_is_signed_over_its_id_its_time_and_every_byte() {
    let (address, mut requests) = record().await;
    let body = r#"{"type":"gate.waiting","title":"Größe"}"#;
    let webhook = webhook(address, Duration::from_secs(60));
    Http::new().unwrap().post(&webhook, "msg-1", body.to_owned()).await.unwrap();
    let (headers, received) = requests.recv().await.unwrap();
    assert_eq!(received, body);
    assert_eq!(
        (&headers["webhook-id"], &headers["content-type"]),
        (&"msg-1".parse().unwrap(), &"application/json".parse().unwrap())
    );
    assert_eq!(headers["user-agent"], concat!("gatepost/", env!("CARGO_PKG_VERSION")));
    let verifier = standardwebhooks::Webhook::new(KEY).unwrap();
    verifier.verify(&received, &headers).unwrap();
    for (name, other) in [("webhook-id", "msg-2"), ("webhook-timestamp", "1614265330")] {
        let mut changed = headers.clone();
        changed.insert(name, other.parse().unwrap());
        assert!(verifier.verify(&received, &changed).is_err(), "{name}");
    }
    assert!(verifier.verify(&received[1..], &headers).is_err());
}

#[tokio::test]
async fn slack_gets_no_signature() {
    let (address, mut requests) = record().await;
    let slack = Webhook { format: Format::Slack, ..webhook(address, Duration::from_secs(60)) };
    Http::new().unwrap().post(&slack, "id", "{}".to_owned()).await.unwrap();
    let (headers, _) = requests.recv().await.unwrap();
    assert!(headers.keys().all(|name| !name.as_str().starts_with("webhook-")), "{headers:?}");
}

#[tokio::test]
async fn any_2xx_is_a_delivery_and_nothing_else_is() {
    for status in [200, 201, 202, 204] {
        post(serve(move |_| StatusCode::from_u16(status).unwrap()).await).await.unwrap();
    }
    for status in [301, 304, 400, 401, 404, 429, 500, 503] {
        let failure = post(serve(move |_| StatusCode::from_u16(status).unwrap()).await).await.unwrap_err();
        assert!(failure.problem.starts_with(&format!("HTTP {status}")), "{}", failure.problem);
        assert!(!failure.is_final && failure.retry_after.is_none(), "{failure:?}");
    }
    let gone = post(serve(|_| StatusCode::GONE).await).await.unwrap_err();
    assert!(gone.is_final);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (seen, mut paths) = mpsc::unbounded_channel();
    let address = serve(move |path| {
        seen.send(path).unwrap();
        Redirect::temporary("/elsewhere")
    });
    let failure = post(address.await).await.unwrap_err();
    assert!(failure.problem.starts_with("HTTP 307"), "{}", failure.problem);
    assert_eq!(paths.recv().await.unwrap(), "/t0ken");
    assert!(paths.try_recv().is_err());
}

#[tokio::test]
async fn a_receiver_says_how_long_it_wants_to_be_left_alone() {
    let answer = async |value: &'static str| {
        let address = serve(move |_| (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", value)])).await;
        post(address).await.unwrap_err().retry_after
    };
    assert_eq!(answer("120").await, Some(Duration::from_secs(120)));
    assert_eq!(answer("Wed, 21 Oct 2015 07:28:00 GMT").await, Some(Duration::ZERO));
    let in_years = answer("Fri, 31 Dec 2100 23:59:59 GMT").await.unwrap();
    assert!(in_years > Duration::from_secs(365 * 86_400), "{in_years:?}");
    assert_eq!(answer("soon").await, None);
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let webhook = webhook(address, Duration::from_millis(50));
    let failure = Http::new().unwrap().post(&webhook, "id", "{}".to_owned()).await.unwrap_err();
    assert_eq!(failure.problem, "no answer within 50ms");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_or_dies_is_a_failure_that_tells_no_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        // It has heard something, and dies without a word.
        connection.read_u8().await.unwrap();
    });
    for _ in 0..2 {
        let failure = post(address).await.unwrap_err();
        let origin = format!("no connection to http://{address}: ");
        assert!(failure.problem.starts_with(&origin) && !failure.problem.contains("t0ken"), "{}", failure.problem);
        assert!(failure.problem.len() > origin.len());
        assert!(!failure.is_final);
    }
}

#[tokio::test]
async fn a_receiver_that_speaks_no_tls_is_a_failure_where_https_is_asked_for() {
    let address = serve(|_| StatusCode::OK).await;
    let https = url(&format!("https://{address}/t0ken")).unwrap();
    let webhook = Webhook { url: https, ..webhook(address, Duration::from_secs(60)) };
    let failure = Http::new().unwrap().post(&webhook, "id", "{}".to_owned()).await.unwrap_err();
    assert!(failure.problem.starts_with(&format!("no connection to https://{address}: ")), "{}", failure.problem);
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let address = serve(|_| {
        let endless =
            tokio_stream::iter(std::iter::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![0; 4096]))));
        Body::from_stream(endless)
    });
    post(address.await).await.unwrap();
}
