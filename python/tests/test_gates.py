"""Gates behave as the guide's library does, and are shared by scope."""

from __future__ import annotations

import asyncio
import pickle
import threading

import pytest

import gatepost
from conftest import Coordinator, eventually, output, until_waiters, until_waiting
from gatepost import (
    AddressError,
    ApprovalGate,
    Client,
    ClosedError,
    GateController,
    GatepostError,
    GateRejectedError,
    GateStatus,
    GateTimeoutError,
    InvalidRequestError,
    LimitError,
    SpecConflictError,
    UnavailableError,
    gates,
)


def in_thread(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_every_name_of_the_guide_is_in_both_modules():
    for name in ("ApprovalGate", "GateController", "GateRejectedError", "GateStatus", "GateTimeoutError"):
        assert getattr(gatepost, name) is getattr(gates, name)
    assert [status.value for status in GateStatus] == ["pending", "waiting", "approved", "rejected", "timed_out"]


def test_the_messages_are_those_of_the_guide():
    assert str(GateRejectedError("qa", "too slow")) == "Gate 'qa' was rejected: too slow"
    assert str(GateRejectedError("qa")) == "Gate 'qa' was rejected"
    assert str(GateTimeoutError("qa", 5)) == "Gate 'qa' timed out after 5s"


@pytest.mark.parametrize("error", [GateRejectedError("qa", "too slow"), GateTimeoutError("qa", 0.5)])
def test_the_errors_cross_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


class TestApprovalGate:
    def test_a_decision_ends_the_wait(self, coordinator):
        gate = ApprovalGate(timeout=60)
        assert gate.status is GateStatus.PENDING
        waiting = in_thread(gate.wait_sync)
        with Client() as client:
            (name,) = [found.name for found in client.list_gates().gates]
            until_waiting(client, name)
        assert gate.status is GateStatus.WAITING
        gate.approve()
        waiting.join()
        assert gate.status is GateStatus.APPROVED

    def test_an_approval_before_the_wait_lets_it_through(self, coordinator):
        gate = ApprovalGate()
        gate.approve(comment="canary is green", inputs={"percent": 5, "hosts": ["a", "b"], "ratio": 0.5})
        gate.wait_sync()
        asyncio.run(gate.wait_async())
        assert (gate.status, gate.reason) == (GateStatus.APPROVED, "canary is green")
        assert gate.inputs == {"percent": 5, "hosts": ["a", "b"], "ratio": 0.5}
        assert isinstance(gate.inputs["percent"], int)

    @pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1])
    def test_a_number_that_would_arrive_as_another_is_refused(self, coordinator, number):
        gate = ApprovalGate()
        with pytest.raises(ValueError, match=r"beyond 2\^53"):
            gate.approve(inputs={"a": [{"id": number}]})
        assert gate.status is GateStatus.PENDING
        gate.approve(inputs={"id": 2**53})
        assert gate.inputs == {"id": 2**53}

    def test_a_rejection_is_raised_with_its_reason(self, coordinator):
        gate = ApprovalGate()
        gate.reject("not ready")
        for wait in (gate.wait_sync, lambda: asyncio.run(gate.wait_async())):
            with pytest.raises(GateRejectedError, match="was rejected: not ready"):
                wait()
        assert (gate.status, gate.reason) == (GateStatus.REJECTED, "not ready")

    def test_a_decided_gate_ignores_decisions(self, coordinator):
        gate = ApprovalGate()
        gate.approve()
        gate.reject("too late")
        gate.approve()
        assert (gate.status, gate.reason) == (GateStatus.APPROVED, "")
        late = ApprovalGate()
        late.reject("no")
        late.approve()
        assert (late.status, late.reason) == (GateStatus.REJECTED, "no")

    @pytest.mark.parametrize("timeout", [0.2, 1])
    def test_a_timeout_has_the_seconds_that_were_given(self, coordinator, timeout):
        gate = ApprovalGate(timeout=timeout)
        with pytest.raises(GateTimeoutError) as caught:
            gate.wait_sync()
        assert caught.value.timeout == timeout
        assert str(caught.value).endswith(f"timed out after {timeout}s")
        assert gate.status is GateStatus.TIMED_OUT
        gate.approve()
        assert gate.status is GateStatus.TIMED_OUT
        gate.reset()
        gate.approve()
        gate.wait_sync()

    def test_a_reset_makes_an_auto_approved_gate_pending(self, coordinator):
        gate = ApprovalGate(auto_approve=True)
        assert gate.status is GateStatus.APPROVED
        gate.wait_sync()
        gate.reset()
        assert gate.status is GateStatus.PENDING
        assert gate.reason == ""

    def test_a_reset_keeps_those_who_wait(self, client):
        controller = GateController({"qa": ApprovalGate()})
        waiting = in_thread(lambda: controller.wait_sync("qa"))
        until_waiters(client, f"{controller.scope}/qa", 1)
        gate = controller.get_gate("qa")
        assert gate is not None
        gate.reset()
        controller.approve("qa")
        waiting.join()

    def test_gates_of_their_own_never_meet(self, client):
        first, second = ApprovalGate(), ApprovalGate()
        first.approve()
        assert second.status is GateStatus.PENDING
        assert len(client.list_gates().gates) == 2

    def test_an_error_names_the_gate_where_it_is_found(self, client):
        gate = ApprovalGate()
        gate.reject()
        with pytest.raises(GateRejectedError) as caught:
            gate.wait_sync()
        assert client.get_gate(caught.value.gate_name).resolution.by == "anonymous"

    def test_people_see_what_it_asks(self, client):
        controller = GateController(
            {"qa": ApprovalGate(60, title="Release 42", labels={"team": "a"}, required_approvals=2)}
        )
        controller.approve("qa")
        gate = client.get_gate(f"{controller.scope}/qa")
        assert (gate.spec.title, gate.spec.labels["team"], gate.approvals_missing) == ("Release 42", "a", 1)
        assert controller.status("qa") is GateStatus.PENDING

    @pytest.mark.parametrize("timeout", [0, -1, 1e10])
    def test_a_timeout_that_no_gate_can_have_is_refused(self, coordinator, timeout):
        with pytest.raises(InvalidRequestError, match="timeout"):
            ApprovalGate(timeout).wait_sync()

    @pytest.mark.parametrize("timeout", [float("nan"), float("inf")])
    def test_a_timeout_that_is_no_number_is_refused(self, timeout):
        with pytest.raises(ValueError, match="finite"):
            ApprovalGate(timeout)


class TestGateController:
    def test_gates_by_name(self, coordinator):
        qa = ApprovalGate(timeout=600)
        controller = GateController({"qa": qa, "prod": ApprovalGate(timeout=300)})
        controller.add_gate("staging", ApprovalGate())
        controller.approve("qa")
        controller.reject("prod", reason="Canary failed")
        assert controller.get_gate("qa") is qa
        assert controller.get_gate("nowhere") is None
        assert [controller.has_gate(name) for name in ("qa", "staging", "nowhere", "no gate")] == [1, 1, 0, 0]
        statuses = [controller.status(name) for name in ("qa", "prod", "staging")]
        assert statuses == [GateStatus.APPROVED, GateStatus.REJECTED, GateStatus.PENDING]
        controller.wait_sync("qa")
        with pytest.raises(GateRejectedError, match="Gate 'prod' was rejected: Canary failed") as caught:
            controller.wait_sync("prod")
        assert (caught.value.gate_name, caught.value.reason) == ("prod", "Canary failed")
        controller.reset_all()
        assert {controller.status(name) for name in ("qa", "prod", "staging")} == {GateStatus.PENDING}

    def test_a_gate_that_is_not_there_is_a_key_error(self, coordinator):
        controller = GateController({})
        calls = [controller.approve, controller.reject, controller.status, controller.wait_sync]
        for call in [*calls, lambda name: asyncio.run(controller.wait_async(name))]:
            for name in ("x", "not a name"):
                with pytest.raises(KeyError) as caught:
                    call(name)
                assert caught.value.args == (f"No gate named '{name}'",)

    def test_a_gate_that_was_not_declared_has_its_makers_timeout(self, client):
        client.create_gate("s/qa", gatepost.spec(timeout=0.1))
        other = GateController(scope="s")
        for wait in (other.wait_sync, lambda name: asyncio.run(other.wait_async(name))):
            with pytest.raises(GateTimeoutError, match=r"Gate 'qa' timed out after 0\.1s"):
                wait("qa")

    @pytest.mark.parametrize("blocking", [True, False])
    def test_a_wait_on_one_that_was_not_declared_begins_while_nobody_answers(
        self, coordinator, client, caplog, blocking
    ):
        client.create_gate("s/qa")
        client.approve("s/qa")
        other = GateController(scope="s")
        coordinator.kill()
        ended = []
        work = (lambda: other.wait_sync("qa")) if blocking else lambda: asyncio.run(other.wait_async("qa"))
        thread = in_thread(lambda: ended.append(work()))
        eventually(lambda: "the wait on s/qa is disconnected" in caplog.text, "it tries")
        coordinator.restart()
        thread.join(30)
        assert ended == [None]

    def test_a_reset_of_all_resets_gates_that_nobody_used_yet(self, coordinator):
        controller = GateController({"auto": ApprovalGate(auto_approve=True), "qa": ApprovalGate()})
        controller.reset_all()
        assert {name: controller.status(name) for name in ("auto", "qa")} == {
            "auto": GateStatus.PENDING,
            "qa": GateStatus.PENDING,
        }

    def test_a_shared_client_that_was_closed_is_replaced(self, coordinator):
        first = GateController({"qa": ApprovalGate()}, scope="s")
        first.client.close()
        with pytest.raises(ClosedError):
            first.status("qa")
        again = GateController({"qa": ApprovalGate()}, scope="s")
        assert again.status("qa") is GateStatus.PENDING
        assert GateController(scope="s").client is again.client

    def test_a_timeout_names_the_gate(self, coordinator):
        controller = GateController({"qa": ApprovalGate(timeout=0.1)})
        for wait in (controller.wait_sync, lambda name: asyncio.run(controller.wait_async(name))):
            with pytest.raises(GateTimeoutError) as caught:
                wait("qa")
            assert (caught.value.gate_name, caught.value.timeout) == ("qa", 0.1)

    def test_waiting_gates_are_those_that_wait(self, client):
        names = ["zeta", "alpha", "mid"]
        controller = GateController({name: ApprovalGate() for name in names})
        assert controller.waiting_gates() == []
        waiting = [in_thread(lambda name=name: controller.wait_sync(name)) for name in ("alpha", "zeta")]
        for name in ("alpha", "zeta"):
            until_waiters(client, f"{controller.scope}/{name}", 1)
        assert controller.waiting_gates() == ["zeta", "alpha"]
        for name in names:
            controller.approve(name)
        for thread in waiting:
            thread.join()

    def test_a_name_that_the_coordinator_does_not_take_is_told(self, coordinator):
        controller = GateController({"qa review": ApprovalGate()})
        calls = [controller.approve, controller.status, controller.wait_sync]
        for call in [*calls, lambda name: asyncio.run(controller.wait_async(name))]:
            with pytest.raises(InvalidRequestError, match='segment "qa review": use 1 to 63 of A-Z a-z 0-9'):
                call("qa review")

    def test_a_gate_has_one_place(self, coordinator):
        gate = ApprovalGate()
        GateController({"qa": gate}, scope="a").add_gate("qa", gate)
        with pytest.raises(ValueError, match="this gate is a/qa already"):
            GateController({"qa": gate}, scope="b")

    def test_to_construct_needs_no_coordinator(self, monkeypatch):
        monkeypatch.setenv("GATEPOST_SERVER", "127.0.0.1:1")
        controller = GateController({"qa": ApprovalGate(timeout=5, auto_approve=True)}, scope="a")
        with pytest.raises(UnavailableError, match=r"cannot reach http://127.0.0.1:1 \(connection refused\)"):
            controller.status("qa")

    def test_an_address_that_is_none_is_refused(self):
        for address in ("localhost", "http://", "localhost:0", "ftp://a:1", "http://a:1/b", "a b:1", "a:x"):
            with pytest.raises(AddressError, match="is not the address of a coordinator"):
                GateController(server=address)

    @pytest.mark.parametrize("token", ["secret\n", "s\u00e9cret"])
    def test_a_token_that_no_header_can_carry_is_refused(self, token, monkeypatch):
        with pytest.raises(ValueError, match="the token is empty, or has a line break or another") as caught:
            GateController(token=token)
        assert token not in str(caught.value)
        monkeypatch.setenv("GATEPOST_TOKEN", token)
        with pytest.raises(ValueError, match="the token"):
            Client()


class TestScope:
    def test_a_gate_is_found_below_the_scope(self, client, monkeypatch):
        GateController({"qa": ApprovalGate()}, scope="release-42").approve("qa")
        assert GateStatus.of(client.get_gate("release-42/qa")) is GateStatus.APPROVED
        monkeypatch.setenv("GATEPOST_SCOPE", "release-42")
        assert GateController({"qa": ApprovalGate()}).status("qa") is GateStatus.APPROVED

    def test_without_one_a_second_run_never_meets_the_first(self, coordinator):
        first, second = (GateController({"qa": ApprovalGate()}) for _ in range(2))
        first.approve("qa")
        assert first.scope != second.scope
        assert second.status("qa") is GateStatus.PENDING
        assert GateController(scope=first.scope).status("qa") is GateStatus.APPROVED

    def test_who_only_decides_declares_nothing(self, client):
        worker = GateController({"qa": ApprovalGate(timeout=60)}, scope="s")
        waiting = in_thread(lambda: worker.wait_sync("qa"))
        until_waiters(client, "s/qa", 1)
        other = GateController(scope="s")
        assert other.waiting_gates() == ["qa"]
        assert other.has_gate("qa")
        gate = other.get_gate("qa")
        assert gate is not None
        assert gate.timeout == 60
        other.approve("qa", comment="fine", inputs={"n": 1})
        waiting.join()
        assert (gate.reason, gate.inputs) == ("fine", {"n": 1})
        asyncio.run(other.wait_async("qa"))

    def test_the_same_gate_declared_twice_is_one(self, coordinator):
        a, b = (GateController({"qa": ApprovalGate(timeout=60, title="t")}, scope="s") for _ in range(2))
        assert (a.status("qa"), b.status("qa")) == (GateStatus.PENDING, GateStatus.PENDING)
        a.approve("qa")
        b.wait_sync("qa")

    def test_another_spec_is_a_conflict(self, coordinator):
        first = GateController({"qa": ApprovalGate(timeout=60)}, scope="s")
        assert first.status("qa") is GateStatus.PENDING
        calls = [lambda other: other.status("qa"), lambda other: other.wait_sync("qa")]
        for call in [*calls, lambda other: asyncio.run(other.wait_async("qa"))]:
            with pytest.raises(SpecConflictError, match="gate s/qa exists with another spec") as caught:
                call(GateController({"qa": ApprovalGate(timeout=61)}, scope="s"))
            assert "timeout" in caught.value.metadata["fields"]

    def test_scopes_that_begin_alike_are_two(self, coordinator):
        GateController({"qa": ApprovalGate()}, scope="release-421").approve("qa")
        shorter = GateController({"eu/qa": ApprovalGate()}, scope="release-42")
        shorter.approve("eu/qa")
        assert list(shorter.to_dict()) == ["eu/qa"]

    def test_a_reset_of_all_has_a_bound(self, client):
        for number in range(161):
            client.create_gate(f"s/{number}")
        with pytest.raises(LimitError, match="160"):
            GateController(scope="s").reset_all()


FORKED = """
import multiprocessing, sys
from gatepost import ApprovalGate, Client

def child():
    try:
        ApprovalGate().approve()
        print("decided")
    except RuntimeError as error:
        print(error)
    sys.stdout.flush()

if sys.argv[1] == "after":
    Client().list_gates()
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
"""


def test_a_forked_process_works_or_says_why_not(coordinator: Coordinator):
    assert output(coordinator.python("-W", "ignore", "-c", FORKED, "before")) == "decided\n"
    process = coordinator.python("-W", "ignore", "-c", FORKED, "after", GRPC_VERBOSITY="NONE")
    assert "gRPC does not survive a fork" in output(process)


def test_rejections_are_not_errors_of_the_sdk():
    assert not issubclass(GateRejectedError, GatepostError)
    assert not issubclass(GateTimeoutError, GatepostError)
