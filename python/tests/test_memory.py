"""What waits and watches ask for after what they have seen."""

from __future__ import annotations

import grpc
import pytest

from gatepost import (
    GateDeletedError,
    GateNotFoundError,
    LimitError,
    RefusedError,
    RoundResetError,
    SpecConflictError,
    StoreReplacedError,
    UnavailableError,
    spec,
    v1,
)
from gatepost._memory import WaitMemory, WatchMemory


def waiting(round=0):
    return WaitMemory(v1.WaitRequest(gate="a", round=round, spec=spec(), waiter=v1.Waiter(id="me")))


def gate(uid, round):
    return v1.Gate(name="a", uid=uid, round=round)


def round_reset(next_round):
    return RoundResetError("reset", grpc.StatusCode.FAILED_PRECONDITION, "ROUND_RESET", {"next_round": next_round})


class TestWait:
    def test_the_request_is_repeated_until_the_gate_is_seen(self):
        memory = waiting()
        asked = memory.request()
        assert memory.on_error(UnavailableError("gone")) is True
        assert memory.request() == asked
        assert asked.HasField("spec")

    def test_after_that_the_round_is_named_and_the_gate_is_not_made_again(self):
        memory = waiting()
        for round in (3, 4):
            memory.on_gate(gate("u", round))
            expected = v1.WaitRequest(gate="a", uid="u", round=round, waiter=v1.Waiter(id="me"))
            assert memory.request() == expected

    def test_a_reset_while_away_moves_the_wait_to_the_next_round(self):
        memory = waiting()
        memory.on_gate(gate("u", 1))
        assert memory.on_error(round_reset("2")) is False
        assert memory.request().round == 2

    def test_a_reset_ends_a_wait_that_names_its_round(self):
        memory = waiting(round=1)
        memory.on_gate(gate("u", 1))
        with pytest.raises(RoundResetError):
            memory.on_error(round_reset("2"))

    @pytest.mark.parametrize("next_round", ["1", "0", "", "x", "-2"])
    def test_a_round_that_does_not_grow_ends_the_wait(self, next_round):
        memory = waiting()
        memory.on_gate(gate("u", 1))
        with pytest.raises(RoundResetError):
            memory.on_error(round_reset(next_round))

    def test_a_gate_deleted_while_away_is_told(self):
        not_found = GateNotFoundError("none", grpc.StatusCode.NOT_FOUND, "GATE_NOT_FOUND")
        memory = waiting()
        with pytest.raises(GateNotFoundError):
            memory.on_error(not_found)
        memory.on_gate(gate("u", 1))
        with pytest.raises(GateDeletedError):
            memory.on_error(not_found)
        with pytest.raises(GateDeletedError):
            memory.on_gate(gate("v", 1))

    def test_other_refusals_end_the_wait(self):
        with pytest.raises(SpecConflictError):
            waiting().on_error(SpecConflictError("", grpc.StatusCode.FAILED_PRECONDITION, "SPEC_CONFLICT"))


class TestWatch:
    def test_it_resumes_after_the_last_revision_seen(self):
        memory = WatchMemory(v1.WatchRequest(prefix="a"))
        assert memory.request() == v1.WatchRequest(prefix="a")
        memory.on_created(v1.WatchCreated(revision=7, store_id="s"), "h")
        assert memory.request() == v1.WatchRequest(prefix="a", start_revision=8)
        memory.on_event(v1.Event(revision=9))
        # A watch that is in place again says from where; that takes nothing back.
        memory.on_created(v1.WatchCreated(revision=8, store_id="s"), "h")
        assert memory.request() == v1.WatchRequest(prefix="a", start_revision=10)

    def test_an_initial_state_that_was_cut_off_is_asked_for_again(self):
        memory = WatchMemory(v1.WatchRequest(initial_state=True))
        memory.on_created(v1.WatchCreated(revision=7, store_id="s"), "h")
        memory.on_event(v1.Event(revision=3, type=v1.EventType.EVENT_TYPE_EXISTING))
        assert memory.request() == v1.WatchRequest(initial_state=True)
        memory.on_revision(7)
        assert memory.request() == v1.WatchRequest(start_revision=8)

    def test_another_store_is_told(self):
        memory = WatchMemory(v1.WatchRequest())
        memory.on_created(v1.WatchCreated(revision=7, store_id="s"), "h")
        with pytest.raises(StoreReplacedError, match="the coordinator at i has"):
            memory.on_created(v1.WatchCreated(revision=7, store_id="t"), "i")

    def test_one_that_was_too_slow_resumes(self):
        memory = WatchMemory(v1.WatchRequest())
        memory.on_error(UnavailableError("gone"))
        memory.on_error(LimitError("", grpc.StatusCode.RESOURCE_EXHAUSTED, "WATCHER_TOO_SLOW"))
        with pytest.raises(RefusedError):
            memory.on_error(RefusedError("", grpc.StatusCode.PERMISSION_DENIED))
