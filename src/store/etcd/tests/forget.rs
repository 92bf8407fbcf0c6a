//! What is forgotten is said to be before it is gone, however much goes with one gate.

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn no_round_is_gone_before_it_is_said_to_be_forgotten() {
    let Some(store) = leading().await else { return };
    // More ends of rounds than fit one transaction; which of them are looked at with the last event depends on how many.
    for rounds in 40..52 {
        let gate = format!("many/{rounds}");
        make(&store, &gate).await;
        for _ in 0..rounds {
            act(&store, &gate, approve("alice"), 1).await;
            act(&store, &gate, reset(), 1).await;
        }
        act(&store, &gate, delete(), 1).await;
    }
    let all: BTreeSet<_> = all_events(&store).await.into_iter().collect();

    let old = Old { before: at(9), below: Revision::ZERO, until: Revision(u64::MAX) };
    let forget = async { while store.forget(old).await.unwrap() {} };
    let look = async || {
        let records = txn::keys_only(txn::scan(keys::histories(), 0));
        let read = Txn::default().read(records).read(txn::get(keys::FORGOTTEN.to_vec()));
        let both = store.shared.client.txn(read).await.unwrap().ranges;
        let left: BTreeSet<_> = both[0].iter().map(|kv| txn::revision(kv.mod_revision)).collect();
        let until = both[1].first().map_or(0, |kv| u64::from_be_bytes(kv.value.as_slice().try_into().unwrap()));
        let early: Vec<_> = all.difference(&left).filter(|gone| gone.0 > until).collect();
        assert!(early.is_empty(), "{early:?} are gone, and all until {until} are said to be");
        left.len()
    };
    tokio::join!(forget, async { while look().await > 0 {} });
    check_nothing_is_left(&store).await;
}
