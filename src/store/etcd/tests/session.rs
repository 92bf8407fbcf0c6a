//! The session: what it does while others are told who waits here.

use super::*;
use crate::store::conformance::peers::heard;

#[tokio::test]
async fn who_has_many_to_tell_of_leads_meanwhile() {
    let prefix = member::prefix();
    let (Some(store), Some(other)) = (open(&prefix).await, open(&prefix).await) else { return };
    let other: Arc<dyn Store> = Arc::new(other);
    let crowd = Crowd { waiters: vec![], count: 7 };
    store.announce(vec![(name("a"), crowd.clone())]).await.unwrap();
    heard(&other, "a", &crowd).await;

    // As if that took longer than a lease lasts.
    let telling = store.shared.session.telling.lock().await;
    store.shared.client.revoke(store.shared.session.lease().unwrap()).await.unwrap();
    heard(&other, "a", &Crowd::default()).await;
    tokio::time::timeout(PATIENCE, store.elected()).await.expect("it is never elected");
    let leads_since = store.shared.session.leads_since();
    assert_eq!(other.peers().unwrap().elsewhere(&name("a")), Crowd::default());
    drop(telling);
    heard(&other, "a", &crowd).await;
    assert_eq!(store.shared.session.leads_since(), leads_since);
}
