//! What callers are shown who may not see everything.

use super::*;

/// Sees the gates of one group alone.
struct Sees(&'static str);

impl Access for Sees {
    fn allows(&self, permission: Permission, gate: Option<&GateName>) -> bool {
        permission == Permission::View && gate.is_some_and(|gate| gate.as_str().starts_with(self.0))
    }

    fn stands(&self) -> bool {
        true
    }

    fn has_expired(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_goes_on_behind_gates_that_are_not_shown_without_naming_one() {
    let gates = start();
    // More than one call reads.
    for number in 0..4_200 {
        gates.create(&call("ci"), &name(&format!("hidden/{number}")), Spec::default()).await.unwrap();
    }
    gates.create(&call("ci"), &name("shown/a"), Spec::default()).await.unwrap();
    let caller = Caller::new(who("alice").into(), Arc::new(Sees("shown")));
    let mut query = GateQuery { prefix: Prefix::default(), statuses: Vec::new(), after: None, limit: 10 };
    let first = gates.list(&caller, query.clone()).await.unwrap();
    assert!(first.views.is_empty());
    assert!(matches!(first.next, Some(ListPlace::Hidden(_))), "{:?}", first.next);
    query.after = first.next;
    let second = gates.list(&caller, query.clone()).await.unwrap();
    assert_eq!(second.views.len(), 1);
    assert_eq!((second.views[0].gate.name.as_str(), second.next), ("shown/a", None));

    query.after = Some(ListPlace::Gate(name("hidden/7")));
    assert!(matches!(gates.list(&caller, query).await, Err(Error::NoSuchPage)));
}
