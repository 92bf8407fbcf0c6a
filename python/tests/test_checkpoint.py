"""Controllers tell their state as plain data, and are brought back to it."""

from __future__ import annotations

import json

import pytest

from gatepost import ApprovalGate, GateController, GateStatus, GateTimeoutError, OnTimeout, v1

PLAIN = {
    "timeout": None,
    "auto_approve": False,
    "required_approvals": 1,
    "approvers": [],
    "forbid_requester": None,
    "min_wait": None,
    "on_timeout": "time_out",
}
"""What a gate asks for that was made with nothing."""


def test_what_was_told_is_restored(coordinator):
    old = GateController({"a": ApprovalGate(5), "b": ApprovalGate(), "c": ApprovalGate(), "t": ApprovalGate(0.01)})
    old.approve("a")
    old.reject("b", "no")
    with pytest.raises(GateTimeoutError):
        old.wait_sync("t")
    saved = old.to_dict()
    assert saved == {
        "a": PLAIN | {"status": "approved", "reason": "", "timeout": 5},
        "b": PLAIN | {"status": "rejected", "reason": "no"},
        "c": PLAIN | {"status": "pending", "reason": ""},
        "t": PLAIN | {"status": "timed_out", "reason": "", "timeout": 0.01},
    }
    assert json.loads(json.dumps(saved)) == saved

    new = GateController({"a": ApprovalGate(5)})
    new.restore_from_dict(saved)
    again = new.to_dict()
    assert {name: state["status"] for name, state in again.items()} == {
        "a": "approved",
        "b": "rejected",
        "c": "pending",
        # It has to be asked again.
        "t": "pending",
    }
    assert again["b"]["reason"] == "no"


def test_an_approval_by_two_is_asked_for_again(client):
    old = PLAIN | {"status": "approved", "reason": "", "required_approvals": 2}
    old["approvers"] = ["anonymous", "group:ops"]
    new = GateController({}, scope="s")
    new.restore_from_dict({"a": old})
    gate = client.get_gate("s/a")
    assert (gate.spec.required_approvals, gate.approvals_missing) == (2, 2)
    assert new.to_dict() == {"a": old | {"status": "pending"}}


@pytest.mark.parametrize("status", ["approved", "rejected"])
def test_a_decision_by_others_is_asked_for_again(client, status):
    old = PLAIN | {"status": status, "reason": "", "approvers": ["alice"]}
    new = GateController({}, scope="s")
    new.restore_from_dict({"a": old})
    assert list(client.get_gate("s/a").spec.approvers) == ["alice"]
    assert new.to_dict() == {"a": old | {"status": "pending"}}


@pytest.mark.parametrize("forbid_requester", [True, False])
def test_a_gate_is_made_again_with_all_that_decides_it(client, forbid_requester):
    def gate():
        return ApprovalGate(
            60,
            required_approvals=2,
            approvers=["alice", "group:ops"],
            forbid_requester=forbid_requester,
            min_wait=1.5,
            on_timeout=OnTimeout.REJECT,
        )

    saved = GateController({"a": gate()}).to_dict()
    new = GateController({}, scope="s")
    new.restore_from_dict(json.loads(json.dumps(saved)))
    made = client.get_gate("s/a").spec
    assert (made.HasField("forbid_requester"), made.forbid_requester) == (True, forbid_requester)
    assert (made.min_wait.ToMilliseconds(), made.on_timeout) == (1500, v1.OnTimeout.ON_TIMEOUT_REJECT)
    # It is the one that the program declares: another would be a `SpecConflictError`.
    assert GateController({"a": gate()}, scope="s").to_dict() == saved


@pytest.mark.parametrize("asks", [{"min_wait": 60}, {"forbid_requester": True}])
def test_an_approval_that_would_not_count_now_is_asked_for_again(client, asks):
    GateController({}, scope="s").restore_from_dict({"a": PLAIN | asks | {"status": "approved", "reason": ""}})
    assert GateStatus.of(client.get_gate("s/a")) is GateStatus.PENDING


def test_what_an_older_version_has_told_is_restored(client):
    older = {"status": "approved", "reason": "", "timeout": None, "auto_approve": False, "required_approvals": 1}
    new = GateController({}, scope="s")
    new.restore_from_dict({"a": older})
    assert new.to_dict() == {"a": PLAIN | older}


def test_in_its_own_scope_a_gate_that_timed_out_is_asked_again(coordinator):
    controller = GateController({"t": ApprovalGate(0.01), "auto": ApprovalGate(auto_approve=True)})
    saved = controller.to_dict()
    assert saved["auto"]["status"] == "approved"
    with pytest.raises(GateTimeoutError):
        controller.wait_sync("t")
    GateController(scope=controller.scope).restore_from_dict(saved | {"auto": saved["auto"] | {"status": "waiting"}})
    assert {state["status"] for state in controller.to_dict().values()} == {"pending"}


def test_no_decision_is_overridden(coordinator):
    controller = GateController({"a": ApprovalGate(), "b": ApprovalGate()})
    controller.approve("a")
    saved = controller.to_dict()
    controller.reset_all()
    controller.reject("a", "after all")
    controller.approve("b")
    GateController(scope=controller.scope).restore_from_dict(saved)
    assert (controller.status("a"), controller.status("b")) == (GateStatus.REJECTED, GateStatus.APPROVED)
