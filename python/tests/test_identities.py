"""What a coordinator refuses that asks who calls."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import grpc
import pytest

from conftest import Coordinator
from faults import Proxy
from gatepost import ApprovalGate, Client, GateController, NotAllowedError, UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKER = "gp_worker"
"""A token."""

CONFIG = f"""
[[token]]
principal = "ci"
sha256 = "{sha256(WORKER.encode()).hexdigest()}"

[[grant]]
to = ["ci"]
roles = ["worker"]
on = ["s"]
"""


@pytest.fixture
def asking(program: Path, tmp_path: Path) -> Iterator[Coordinator]:
    """A coordinator that asks who calls, and knows one worker."""
    config = tmp_path / "gatepost.toml"
    config.write_text(CONFIG)
    started = Coordinator(program, tmp_path / "data", config=config)
    yield started
    started.kill()


@pytest.mark.parametrize("token", [None, "gp_unknown"])
def test_who_is_not_known_is_told_so_at_once(asking: Coordinator, token: str | None):
    with (
        Proxy(asking.address) as proxy,
        Client(proxy.address, token=token) as counted,
        Client(asking.address, token=token) as client,
    ):
        for call in (
            lambda: counted.list_gates(),
            lambda: counted.approve("s/a"),
            lambda: client.wait("s/a"),
            lambda: next(client.watch()),
        ):
            with pytest.raises(UnauthenticatedError, match="token") as refused:
                call()
            assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        assert [method for method, _, _ in proxy.calls] == ["ListGates", "Approve"]


def test_who_has_no_grant_is_told_which(asking: Coordinator):
    with Client(asking.address, token=WORKER) as client:
        client.create_gate("s/a")
        for call, permission in (
            (lambda: client.approve("s/a"), "decide"),
            (lambda: client.create_gate("s/auto", ApprovalGate(auto_approve=True)._spec), "exempt"),
            (lambda: client.wait("other/a"), "wait"),
        ):
            with pytest.raises(NotAllowedError, match=f"ci has no grant to {permission}") as refused:
                call()
            assert (refused.value.reason, refused.value.metadata["permission"]) == ("PERMISSION_DENIED", permission)


def test_who_may_not_decide_restores_no_decision(asking: Coordinator):
    controller = GateController({}, server=asking.address, scope="s", token=WORKER)
    old = {"approved": {"status": "approved", "reason": ""}, "rejected": {"status": "rejected", "reason": "no"}}
    controller.restore_from_dict(old)
    assert {name: state["status"] for name, state in controller.to_dict().items()} == dict.fromkeys(old, "pending")
