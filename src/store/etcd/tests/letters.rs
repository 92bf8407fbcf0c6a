//! Dead letters: what etcd refuses in one transaction.

use super::*;
use crate::domain::Round;
use crate::store::Topic;

fn letter(number: u64) -> DeadLetter {
    DeadLetter {
        number,
        message_id: "message".to_owned(),
        topic: Topic::Resolved,
        gate: name("a"),
        round: Round::FIRST,
        revision: Revision(1),
        attempts: 1,
        problem: "HTTP 500".to_owned(),
        time: at(0),
    }
}

#[tokio::test]
async fn a_letter_is_changed_once_in_a_save() {
    let Some(store) = leading().await else { return };
    let webhook = WebhookName::parse("name", "ops").unwrap();
    let save = async |put: &[u64], remove: &[u64]| {
        let outbox = Outbox { place: Revision(1), warned: at(0), next_letter: 3 };
        let put = put.iter().copied().map(letter).collect();
        store.save_outbox(&webhook, OutboxChange { outbox, put, remove: remove.to_vec() }).await
    };
    save(&[1, 2], &[]).await.unwrap();
    // The reference store refuses them too, so that no courier sends such.
    for (put, remove) in [(&[1, 1][..], &[][..]), (&[1], &[1])] {
        let refused = save(put, remove).await.unwrap_err().to_string();
        assert!(refused.contains("duplicate key"), "{refused}");
    }
    save(&[1], &[2]).await.unwrap();
    assert_eq!(store.dead_letters(&webhook, 0, 9).await.unwrap(), [letter(1)]);
}
