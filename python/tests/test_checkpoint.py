"""Controllers tell their state as plain data, and are brought back to it."""

from __future__ import annotations

import pytest

from gatepost import ApprovalGate, GateController, GateStatus, GateTimeoutError


def test_what_was_told_is_restored(coordinator):
    old = GateController({"a": ApprovalGate(5), "b": ApprovalGate(), "c": ApprovalGate(), "t": ApprovalGate(0.01)})
    old.approve("a")
    old.reject("b", "no")
    with pytest.raises(GateTimeoutError):
        old.wait_sync("t")
    saved = old.to_dict()
    same = {"auto_approve": False, "required_approvals": 1}
    assert saved == {
        "a": {"status": "approved", "reason": "", "timeout": 5} | same,
        "b": {"status": "rejected", "reason": "no", "timeout": None} | same,
        "c": {"status": "pending", "reason": "", "timeout": None} | same,
        "t": {"status": "timed_out", "reason": "", "timeout": 0.01} | same,
    }

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
    old = {"status": "approved", "reason": "", "timeout": None, "auto_approve": False, "required_approvals": 2}
    new = GateController({}, scope="s")
    new.restore_from_dict({"a": old})
    gate = client.get_gate("s/a")
    assert (gate.spec.required_approvals, gate.approvals_missing) == (2, 2)
    assert new.to_dict() == {"a": old | {"status": "pending"}}


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
