"""What waits and watches remember from one connection to the next, so that they miss nothing. No I/O."""

from __future__ import annotations

from gatepost import v1
from gatepost.errors import (
    GateNotFoundError,
    GatepostError,
    LimitError,
    RoundResetError,
    UnavailableError,
    deleted,
    replaced,
)


class WaitMemory:
    """What a wait has seen, and what it therefore asks for next."""

    def __init__(self, request: v1.WaitRequest) -> None:
        self._request = request
        self._uid = ""
        self._round = 0

    def request(self) -> v1.WaitRequest:
        """Says what to ask for.

        Once the gate was seen, that is its round, because a resolution that is reset away while the connection is down
        has to be delivered all the same; its uid, because another gate under its name is none of this wait's business;
        and no spec, because a gate that is deleted then has to stay deleted.
        """
        if not self._uid:
            return self._request
        seen = v1.WaitRequest()
        seen.CopyFrom(self._request)
        seen.round, seen.uid = self._round, self._uid
        seen.ClearField("spec")
        return seen

    def on_gate(self, gate: v1.Gate) -> None:
        """Notes the gate as the coordinator sent it."""
        if self._uid and self._uid != gate.uid:
            raise deleted(gate.name)
        self._uid, self._round = gate.uid, gate.round

    def on_error(self, error: GatepostError) -> bool:
        """Says whether to pause before asking again, or raises what ends the wait."""
        if isinstance(error, UnavailableError):
            return True
        if not self._uid:
            raise error
        if isinstance(error, GateNotFoundError):
            raise deleted(self._request.gate) from error
        if isinstance(error, RoundResetError) and not self._request.round:
            next_round = error.metadata.get("next_round", "")
            # Only forward, so that no answer can make this ask for ever.
            if next_round.isdecimal() and int(next_round) > self._round:
                self._round = int(next_round)
                return False
        raise error


class WatchMemory:
    """What a watch has seen, and what it therefore asks for next."""

    def __init__(self, request: v1.WatchRequest) -> None:
        self._request = request
        self._store_id = ""
        self.seen: int | None = None
        """Everything up to this revision was seen."""

    def request(self) -> v1.WatchRequest:
        """Says what to ask for: what follows the last revision seen.

        An initial state that was cut off is asked for again from its beginning.
        """
        if self.seen is None:
            return self._request
        request = v1.WatchRequest()
        request.CopyFrom(self._request)
        request.start_revision, request.initial_state = self.seen + 1, False
        return request

    def on_created(self, created: v1.WatchCreated, address: str) -> None:
        """Notes that the watch is in place, and where."""
        if self._store_id and self._store_id != created.store_id:
            raise replaced(address)
        self._store_id = created.store_id
        # The initial state comes first and is not seen yet.
        if self.seen is not None or not self._request.initial_state:
            self.on_revision(created.revision)

    def on_event(self, event: v1.Event) -> None:
        """Notes an event that is about to be told."""
        # What was there already has the revision of its last change, which may be any.
        if event.type != v1.EventType.EVENT_TYPE_EXISTING:
            self.on_revision(event.revision)

    def on_revision(self, revision: int) -> None:
        """Notes that everything up to a revision was told."""
        self.seen = max(self.seen or 0, revision)

    def on_error(self, error: GatepostError) -> None:
        """Raises what ends the watch."""
        # One that was too slow resumes: the coordinator kept what it has not read.
        too_slow = isinstance(error, LimitError) and error.reason == "WATCHER_TOO_SLOW"
        if not (isinstance(error, UnavailableError) or too_slow):
            raise error
