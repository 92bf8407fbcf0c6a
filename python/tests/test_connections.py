"""Calls are made again without being done twice, and what goes with them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import grpc
import pytest
import trustme

from conftest import Coordinator, until_waiters
from faults import Cable, Proxy
from gatepost import (
    AddressError,
    ApprovalGate,
    Client,
    GateController,
    GateStatus,
    UnavailableError,
    _backoff,
    errors,
    spec,
    v1,
)

RESOLVED = v1.EventType.EVENT_TYPE_RESOLVED


class TestRetries:
    def test_a_call_is_tried_for_a_bounded_time(self, monkeypatch):
        with pytest.raises(UnavailableError, match=r"cannot reach http://127.0.0.1:1 \(connection refused\)"):
            Client("127.0.0.1:1").approve("a")

    def test_a_call_outlives_a_restart(self, coordinator: Coordinator, client: Client, monkeypatch):
        # However long a busy machine takes to start it.
        monkeypatch.setattr(_backoff, "CALL_SECONDS_MAX", 30.0)
        client.create_gate("a")
        coordinator.kill()
        starting = threading.Timer(0.3, coordinator.restart)
        starting.start()
        assert GateStatus.of(client.approve("a")) is GateStatus.APPROVED
        starting.join()

    def test_a_lost_reply_is_never_a_second_decision(self, coordinator: Coordinator, client: Client):
        with Proxy(coordinator.address) as proxy, Client(proxy.address) as far:
            proxy.lose = 1
            far.create_gate("a", spec(required_approvals=1))
            proxy.lose = 2
            # Without a request_id, the second attempt would be told that the gate is resolved already.
            assert GateStatus.of(far.approve("a", comment="once")) is GateStatus.APPROVED
            proxy.lose = 1
            assert far.reset_gate("a").round == 2
            proxy.lose = 1
            assert far.reject("a", reason="no").round == 2
            proxy.lose = 1
            assert [gate.round for gate in far.reset_gates("a")] == [3]
            assert client.get_gate("a").round == 3
            assert len(client.list_events()) == 5
            for method, kind in (("Approve", v1.ApproveRequest), ("CreateGate", v1.CreateGateRequest)):
                ids = {kind.FromString(request).request_id for request in proxy.requests(method)}
                assert len(ids) == 1
                assert ids != {""}
            assert len(proxy.requests("Approve")) == 3

    def test_a_deletion_is_tried_once(self, coordinator: Coordinator, client: Client):
        client.create_gate("a")
        with Proxy(coordinator.address) as proxy, Client(proxy.address) as far:
            proxy.lose = 1
            with pytest.raises(UnavailableError, match="the reply is lost"):
                far.delete_gate("a")
            assert len(proxy.requests("DeleteGate")) == 1

    def test_a_gate_is_decided_once_though_replies_are_lost(self, coordinator: Coordinator, client: Client):
        with Proxy(coordinator.address) as proxy:
            controller = GateController({"qa": ApprovalGate()}, server=proxy.address, scope="s")
            proxy.lose = 1
            assert controller.status("qa") is GateStatus.PENDING
            proxy.lose = 1
            controller.approve("qa")
        assert [event.type for event in client.list_events("s/qa")] == [v1.EventType.EVENT_TYPE_CREATED, RESOLVED]

    def test_a_draining_coordinator_is_unavailable(self):
        assert errors.REASONS["DRAINING"] is UnavailableError


class TestConnections:
    def test_a_token_goes_with_every_call(self, coordinator: Coordinator, monkeypatch):
        with Proxy(coordinator.address) as proxy:
            controller = GateController({"qa": ApprovalGate()}, server=proxy.address, token="secret")
            controller.approve("qa")
            controller.wait_sync("qa")
            asyncio.run(controller.wait_async("qa"))
            monkeypatch.setenv("GATEPOST_TOKEN", "secret")
            with Client(proxy.address) as client:
                client.watch(initial_state=True).__next__()
            assert {method for method, _, _ in proxy.calls} == {"CreateGate", "Approve", "Wait", "Watch"}
            assert {metadata["authorization"] for _, _, metadata in proxy.calls} == {"Bearer secret"}
            assert "secret" not in repr(client._endpoint)

    def test_tls(self, coordinator: Coordinator, tmp_path: Path):
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        key, chain = certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes()
        roots = tmp_path / "roots.pem"
        authority.cert_pem.write_to_path(str(roots))
        credentials = grpc.ssl_channel_credentials(roots.read_bytes())
        with Proxy(coordinator.address, grpc.ssl_server_credentials([(key, chain)])) as proxy:
            for tls in (roots, str(roots), credentials):
                with Client(f"https://{proxy.address}", tls=tls) as client:
                    assert client.address == f"https://{proxy.address}"
                    assert client.list_gates().gates == []
            controller = GateController({"qa": ApprovalGate()}, server=proxy.address, tls=roots)
            controller.approve("qa")
            asyncio.run(controller.wait_async("qa"))
            # One whom it does not know, and none at all.
            for other in (f"https://{proxy.address}", proxy.address):
                with pytest.raises(UnavailableError), Client(other) as client:
                    client.list_gates()
        with pytest.raises(AddressError, match="asks for TLS"):
            Client("https://a:1", tls=False)

    @pytest.mark.parametrize(
        ("given", "address"),
        [
            ("a:1", "http://a:1"),
            ("http://a:1/", "http://a:1"),
            ("https://a:1", "https://a:1"),
            ("[::1]:7070", "http://[::1]:7070"),
            (None, "http://127.0.0.1:7070"),
        ],
    )
    def test_addresses(self, given, address, monkeypatch):
        monkeypatch.delenv("GATEPOST_SERVER", raising=False)
        assert Client(given).address == address
        if given:
            monkeypatch.setenv("GATEPOST_SERVER", given)
            assert Client().address == address
            assert GateController().client.address == address

    def test_calls_do_not_queue_behind_waits(self, coordinator: Coordinator, client: Client):
        cable = Cable(coordinator.address)
        with Client(cable.address) as far:
            thread = threading.Thread(target=lambda: far.wait("a", spec=spec()))
            thread.start()
            until_waiters(client, "a", 1)
            far.approve("a")
            thread.join()
            assert cable.connections == 2
        cable.close()
