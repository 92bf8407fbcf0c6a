//! Logs in to etcd: once for all calls that wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::Login;
use super::api::AuthenticateRequest;
use super::api::auth_client::AuthClient;

/// How long to make no login after one was refused: each costs etcd much time.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a login may take: one that a member hangs at is made at another then.
const LOGIN_MAX: Duration = Duration::from_secs(2);

/// What etcd knows a login by.
pub type Token = MetadataValue<Ascii>;

/// The login of a coordinator, where its cluster asks for one.
pub struct Logins {
    login: Option<Login>,
    // One of tokio's: held while a login is made, for all others to wait for it.
    last: Arc<Mutex<LoggedIn>>,
}

/// How the last login went.
#[derive(Default)]
struct LoggedIn {
    token: Option<Token>,
    /// When and why there is none.
    refused: Option<(Instant, Status)>,
}

impl Logins {
    /// Makes none yet.
    pub fn new(login: Option<Login>) -> Self {
        Self { login, last: Arc::default() }
    }

    /// Returns what shows a member who calls; none where the cluster does not ask.
    pub async fn token(&self, channel: &Channel) -> Result<Option<Token>, Status> {
        let Some(Login { user, password }) = &self.login else { return Ok(None) };
        let mut logged_in = Arc::clone(&self.last).lock_owned().await;
        if let Some(token) = &logged_in.token {
            return Ok(Some(token.clone()));
        }
        if let Some((at, status)) = &logged_in.refused
            && at.elapsed() < PAUSE
        {
            return Err(status.clone());
        }
        let request = AuthenticateRequest { name: user.clone(), password: password.clone() };
        let mut member = AuthClient::new(channel.clone());
        // A task of its own: whoever waits no longer for it takes it from nobody else.
        let login = tokio::spawn(async move {
            let late = |_| Err(Status::deadline_exceeded("no answer in time"));
            let answer = timeout(LOGIN_MAX, member.authenticate(request)).await.unwrap_or_else(late);
            let answer = answer.and_then(|answer| token_of(&answer.into_inner().token));
            let refused = answer.as_ref().err().filter(|status| is_refused(status)).cloned();
            logged_in.token = answer.as_ref().ok().cloned();
            logged_in.refused = refused.map(|status| (Instant::now(), status));
            answer.map(Some)
        });
        login.await.unwrap_or_else(|_| Err(Status::internal("the login ended without an answer")))
    }

    /// Forgets a token that etcd no longer takes, unless there is a newer one.
    pub async fn forget(&self, token: Option<&Token>) {
        let mut logged_in = self.last.lock().await;
        if logged_in.token.as_ref() == token {
            logged_in.token = None;
        }
    }
}

fn token_of(text: &str) -> Result<Token, Status> {
    let mut token: Token = text.parse().map_err(|_| Status::internal("a login was answered with no token"))?;
    token.set_sensitive(true);
    Ok(token)
}

/// Says whether to log in again: tokens end after some minutes, with the member that gave them, and whenever a user or a
/// role changes.
pub fn is_stale(status: &Status) -> bool {
    status.code() == Code::Unauthenticated || status.message().contains("revision of auth store is old")
}

/// Says whether etcd does not let this coordinator do it: that passes only once its operator has mended it there.
pub fn is_refused(status: &Status) -> bool {
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => true,
        // Whom it does not know is no argument to it.
        Code::InvalidArgument => ["user", "auth"].iter().any(|word| status.message().contains(word)),
        Code::FailedPrecondition => status.message().contains("auth"),
        _ => false,
    }
}
