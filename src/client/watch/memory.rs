//! What a watch remembers from one connection to the next, so that it skips nothing. Pure.

use super::super::Error;
use crate::proto::{WatchCreated, WatchRequest};

/// What a watch has seen, and what it therefore asks for next.
pub(super) struct Memory {
    request: WatchRequest,
    store_id: Option<String>,
    /// Everything up to this revision was seen.
    seen: Option<u64>,
}

impl Memory {
    pub(super) fn new(request: WatchRequest) -> Self {
        Self { request, store_id: None, seen: None }
    }

    /// Returns what to ask for: what follows the last revision seen. An initial state that was cut off is asked for
    /// again from its beginning.
    pub(super) fn request(&self) -> WatchRequest {
        match self.seen {
            None => self.request.clone(),
            Some(seen) => WatchRequest { start_revision: seen + 1, initial_state: false, ..self.request.clone() },
        }
    }

    /// Notes that the watch is in place.
    pub(super) fn on_created(&mut self, created: &WatchCreated, address: &str) -> Result<(), Error> {
        if let Some(seen) = self.store_id.as_ref().filter(|seen| **seen != created.store_id) {
            let (address, seen, found) = (address.to_owned(), seen.clone(), created.store_id.clone());
            return Err(Error::Replaced { address, seen, found });
        }
        self.store_id = Some(created.store_id.clone());
        // The initial state comes first and is not seen yet.
        if self.seen.is_some() || !self.request.initial_state {
            self.on_revision(created.revision);
        }
        Ok(())
    }

    /// Notes that everything up to a revision was seen.
    pub(super) fn on_revision(&mut self, revision: u64) {
        self.seen = self.seen.max(Some(revision));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(revision: u64, store_id: &str) -> WatchCreated {
        WatchCreated { revision, store_id: store_id.into() }
    }

    #[test]
    fn it_resumes_after_the_last_revision_seen() {
        let request = WatchRequest { prefix: "a".into(), ..WatchRequest::default() };
        let mut memory = Memory::new(request.clone());
        assert_eq!(memory.request(), request);
        memory.on_created(&created(7, "s"), "h").unwrap();
        assert_eq!(memory.request(), WatchRequest { start_revision: 8, ..request.clone() });
        memory.on_revision(9);
        // A watch that is in place again says from where; that takes nothing back.
        memory.on_created(&created(8, "s"), "h").unwrap();
        assert_eq!(memory.request(), WatchRequest { start_revision: 10, ..request });
    }

    #[test]
    fn an_initial_state_that_was_cut_off_is_asked_for_again() {
        let request = WatchRequest { initial_state: true, ..WatchRequest::default() };
        let mut memory = Memory::new(request.clone());
        memory.on_created(&created(7, "s"), "h").unwrap();
        assert_eq!(memory.request(), request);
        memory.on_revision(7);
        assert_eq!(memory.request(), WatchRequest { start_revision: 8, ..WatchRequest::default() });
    }

    #[test]
    fn another_store_is_told() {
        let mut memory = Memory::new(WatchRequest::default());
        memory.on_created(&created(7, "s"), "h").unwrap();
        assert!(matches!(memory.on_created(&created(7, "t"), "h"), Err(Error::Replaced { .. })));
    }
}
