"""Calls are made again without being done twice, and what goes with them."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
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
    _calls,
    errors,
    spec,
    v1,
)

RESOLVED = v1.EventType.EVENT_TYPE_RESOLVED


@pytest.fixture
def patient(monkeypatch):
    """Calls are made again for however long a busy machine takes."""
    monkeypatch.setattr(_calls, "AGAIN_SECONDS_MAX", 30.0)


class TestRetries:
    def test_a_call_is_tried_for_a_bounded_time(self, monkeypatch):
        with pytest.raises(UnavailableError, match=r"cannot reach http://127.0.0.1:1 \(connection refused\)"):
            Client("127.0.0.1:1").approve("a")

    @pytest.mark.usefixtures("patient")
    def test_a_call_outlives_a_restart(self, coordinator: Coordinator, client: Client):
        client.create_gate("a")
        coordinator.kill()
        starting = threading.Timer(0.3, coordinator.restart)
        starting.start()
        assert GateStatus.of(client.approve("a")) is GateStatus.APPROVED
        starting.join()

    @pytest.mark.usefixtures("patient")
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

    @pytest.mark.usefixtures("patient")
    def test_a_gate_is_decided_once_though_replies_are_lost(self, coordinator: Coordinator, client: Client):
        with Proxy(coordinator.address) as proxy:
            controller = GateController({"qa": ApprovalGate()}, server=proxy.address, scope="s")
            proxy.lose = 1
            assert controller.status("qa") is GateStatus.PENDING
            proxy.lose = 1
            controller.approve("qa")
        assert [event.type for event in client.list_events("s/qa")] == [v1.EventType.EVENT_TYPE_CREATED, RESOLVED]

    @pytest.mark.usefixtures("patient")
    def test_a_call_that_is_one_too_many_is_made_when_it_may_be(self, coordinator: Coordinator):
        with Proxy(coordinator.address) as proxy, Client(proxy.address) as client:
            proxy.too_many = [0.5]
            begin = time.monotonic()
            client.create_gate("a")
            assert time.monotonic() - begin >= 0.5
            assert len(proxy.requests("CreateGate")) == 2
            # Longer than a call is tried for.
            proxy.too_many = [60.0]
            with pytest.raises(UnavailableError, match="too many calls") as refused:
                client.get_gate("a")
            assert (refused.value.reason, refused.value.retry_after) == ("RATE_LIMITED", 60.0)
            assert pickle.loads(pickle.dumps(refused.value)).retry_after == 60.0

    def test_a_wait_and_a_watch_that_are_one_too_many_begin_when_they_may(self, coordinator: Coordinator):
        with Proxy(coordinator.address) as proxy, Client(proxy.address) as client:
            client.approve(client.create_gate("a").name)
            for call in (lambda: client.wait("a"), lambda: client.watch(initial_state=True).__next__()):
                proxy.too_many = [1.0]
                begin = time.monotonic()
                call()
                assert time.monotonic() - begin >= 1.0

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
            assert "secret" not in repr(client._endpoints)

    def test_a_token_may_be_in_a_file_that_changes(self, coordinator: Coordinator, monkeypatch, tmp_path: Path):
        file = tmp_path / "token"
        with Proxy(coordinator.address) as proxy:
            monkeypatch.setenv("GATEPOST_TOKEN", "other")
            monkeypatch.setenv("GATEPOST_TOKEN_FILE", str(file))
            with pytest.raises(FileNotFoundError):
                Client(proxy.address)
            file.write_text("one\n")
            with Client(proxy.address) as of_environment, Client(proxy.address, token=file) as given:
                of_environment.list_gates()
                file.write_text("two")
                of_environment.list_gates()
                given.list_gates()
            with Client(proxy.address, token="three") as given:
                given.list_gates()
            shown = [metadata["authorization"] for _, _, metadata in proxy.calls]
            assert shown == ["Bearer one", "Bearer two", "Bearer two", "Bearer three"]
            file.write_text("")
            with pytest.raises(ValueError, match="empty"):
                Client(proxy.address)

    def test_a_token_goes_encrypted_or_stays_on_this_host(self, monkeypatch):
        for server in ("https://gates.test:1", "http://127.0.0.1:1", "http://[::1]:1", "localhost:1"):
            Client(server, token="secret")
        for server in ("http://gates.test:1", "10.0.0.1:1", "127.0.0.1.gates.test:1"):
            with pytest.raises(AddressError, match="use https://") as error:
                Client(server, token="secret")
            assert "secret" not in str(error.value)
        monkeypatch.setenv("GATEPOST_TOKEN_OVER_HTTP", "1")
        Client("http://gates.test:1", token="secret")

    def test_a_client_may_show_a_certificate(self, coordinator: Coordinator, monkeypatch, tmp_path: Path):
        authority = trustme.CA()
        roots = authority.cert_pem.bytes()
        server, alice = authority.issue_cert("127.0.0.1"), authority.issue_cert("alice@example.org")
        key, chain = server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes()
        asks = grpc.ssl_server_credentials([(key, chain)], roots, require_client_auth=True)
        key, chain = alice.private_key_pem.bytes(), alice.cert_chain_pems[0].bytes()
        with Proxy(coordinator.address, asks) as proxy:
            shows = grpc.ssl_channel_credentials(roots, key, chain)
            with Client(f"https://{proxy.address}", tls=shows) as client:
                assert client.list_gates().gates == []
            silent = grpc.ssl_channel_credentials(roots)
            with pytest.raises(UnavailableError), Client(f"https://{proxy.address}", tls=silent) as client:
                client.list_gates()
            for name, pem in {"CACERT": roots, "CERT": chain, "KEY": key}.items():
                (tmp_path / name).write_bytes(pem)
                monkeypatch.setenv(f"GATEPOST_{name}", str(tmp_path / name))
            with Client(f"https://{proxy.address}") as client:
                assert client.list_gates().gates == []
            # What is given goes before it.
            with pytest.raises(UnavailableError), Client(f"https://{proxy.address}", tls=silent) as client:
                client.list_gates()
            monkeypatch.delenv("GATEPOST_KEY")
            with pytest.raises(ValueError, match="GATEPOST_CERT and GATEPOST_KEY"):
                Client(f"https://{proxy.address}")

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
