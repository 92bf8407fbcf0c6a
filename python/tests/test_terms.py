"""Who decides a gate, from when on, and what silence means."""

from __future__ import annotations

import pytest

from gatepost import (
    ApprovalGate,
    GateController,
    GateRejectedError,
    NotAllowedError,
    OnTimeout,
    TooEarlyError,
    spec,
    v1,
)


def test_what_a_gate_asks_for_arrives(client):
    asked = spec(
        60, approvers=["alice", "group:ops"], forbid_requester=False, min_wait=1.5, on_timeout=OnTimeout.APPROVE
    )
    kept = client.create_gate("a", asked).spec
    assert (list(kept.approvers), kept.forbid_requester, kept.HasField("forbid_requester")) == (
        ["alice", "group:ops"],
        False,
        True,
    )
    assert (kept.min_wait.ToMilliseconds(), kept.on_timeout) == (1500, v1.OnTimeout.ON_TIMEOUT_APPROVE)
    plain = client.create_gate("b", spec()).spec
    assert not plain.HasField("forbid_requester")
    assert plain.on_timeout == v1.OnTimeout.ON_TIMEOUT_TIME_OUT


def test_a_refusal_says_who_may_or_when(client):
    client.create_gate("others", spec(approvers=["alice"]))
    with pytest.raises(NotAllowedError) as refused:
        client.approve("others")
    assert (refused.value.reason, refused.value.metadata["approvers"]) == ("NOT_AN_APPROVER", "alice")
    client.create_gate("own", spec(forbid_requester=True))
    with pytest.raises(NotAllowedError) as refused:
        client.approve("own")
    assert refused.value.reason == "OWN_GATE"
    client.create_gate("early", spec(min_wait=60))
    with pytest.raises(TooEarlyError) as refused:
        client.approve("early")
    assert refused.value.metadata["not_before"] == ""


def test_breaking_the_glass_says_so(client):
    client.create_gate("a", spec(approvers=["alice"]))
    resolution = client.approve("a", break_glass_reason="the site is down").resolution
    assert (resolution.cause, resolution.reason) == (v1.Cause.CAUSE_BREAK_GLASS, "the site is down")
    assert resolution.authentication == v1.Authentication.AUTHENTICATION_ANONYMOUS


def test_silence_can_be_consent_or_a_rejection(coordinator):
    controller = GateController(
        {
            "yes": ApprovalGate(0.05, on_timeout=OnTimeout.APPROVE),
            "no": ApprovalGate(0.05, on_timeout=OnTimeout.REJECT),
        }
    )
    controller.wait_sync("yes")
    with pytest.raises(GateRejectedError):
        controller.wait_sync("no")
