"""Waits are shared by processes, outlive crashes and lost connections, and leave nothing behind."""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest

import gatepost._stream
from conftest import Coordinator, eventually, output, until_alone, until_waiters
from faults import Cable, Proxy
from gatepost import (
    ApprovalGate,
    AsyncClient,
    Client,
    GateController,
    GateDeletedError,
    GateNotFoundError,
    GateRejectedError,
    GateStatus,
    _shared,
    spec,
)

WORKER = """
import sys
from gatepost import ApprovalGate, GateController, GateTimeoutError
controller = GateController({"qa": ApprovalGate(timeout=float(sys.argv[1]))}, scope="s")
try:
    controller.wait_sync("qa")
    print("approved", controller.get_gate("qa").inputs)
except GateTimeoutError as error:
    print(error.gate_name, error.timeout)
"""

INTERRUPTED = """
import signal
from gatepost import ApprovalGate, GateController
# Whatever a shell that runs the tests in the background has made of it.
signal.signal(signal.SIGINT, signal.default_int_handler)
controller = GateController({"qa": ApprovalGate()}, scope="s")
try:
    controller.wait_sync("qa")
except KeyboardInterrupt:
    print("interrupted")
    input()
"""


@pytest.fixture
def cable(coordinator):
    cable = Cable(coordinator.address)
    yield cable
    cable.close()


def waiting(work):
    """Runs a wait in a thread, and returns what tells how it ended."""
    result = []

    def run():
        try:
            result.append(work())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def outcome():
        thread.join(30)
        assert not thread.is_alive(), "the wait does not end"
        return result[0]

    return outcome


def threads():
    """The threads of this process that are not the tests' own."""
    own = ("_pump", "(run)", "asyncio")
    return {thread for thread in threading.enumerate() if not any(name in thread.name for name in own)}


class TestProcesses:
    def test_one_approval_releases_both(self, coordinator: Coordinator, client: Client):
        workers = [coordinator.python("-c", WORKER, "60") for _ in range(2)]
        until_waiters(client, "s/qa", 2)
        GateController(scope="s").approve("qa", inputs={"n": 7})
        assert [output(worker) for worker in workers] == ["approved {'n': 7}\n"] * 2

    def test_a_timeout_is_raised_in_both(self, coordinator: Coordinator):
        workers = [coordinator.python("-c", WORKER, "1.5") for _ in range(2)]
        assert [output(worker) for worker in workers] == ["qa 1.5\n"] * 2

    def test_both_outlive_a_crash(self, coordinator: Coordinator, client: Client):
        workers = [coordinator.python("-W", "ignore", "-c", WORKER, "60") for _ in range(2)]
        until_waiters(client, "s/qa", 2)
        deadline = client.get_gate("s/qa").deadline
        coordinator.kill()
        coordinator.restart()
        assert client.get_gate("s/qa").deadline == deadline
        client.approve("s/qa")
        for worker in workers:
            out, err = worker.communicate(timeout=30)
            assert (out, worker.returncode) == ("approved {}\n", 0)
            # It says so while it cannot go on.
            assert "the wait on s/qa is disconnected, and tries again" in err

    def test_ctrl_c_ends_a_wait_here_and_there(self, coordinator: Coordinator, client: Client):
        worker = coordinator.python("-c", INTERRUPTED)
        until_waiters(client, "s/qa", 1)
        worker.send_signal(signal.SIGINT)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "interrupted\n"
        # The process is still there: it waits for its input.
        until_waiters(client, "s/qa", 0)
        assert worker.poll() is None
        assert client.get_gate("s/qa").waiter_count == 0
        assert worker.communicate("\n", timeout=30)[1] == ""


class TestReconnects:
    @pytest.mark.parametrize("blocking", [True, False])
    def test_a_decision_that_is_reset_away_meanwhile_is_delivered(self, cable: Cable, client: Client, seen, blocking):
        async def wait():
            async with AsyncClient(cable.address) as away:
                return await away.wait("a", spec=spec())

        outcome = waiting(
            (lambda: Client(cable.address).wait("a", spec=spec())) if blocking else lambda: asyncio.run(wait())
        )
        seen("a")
        cable.unplug()
        client.approve("a", inputs={"n": 1})
        client.reset_gate("a")
        cable.plug()
        decision = outcome()
        assert (decision.status, decision.gate.round, decision.inputs) == (GateStatus.APPROVED, 1, {"n": 1})

    def test_a_reset_meanwhile_is_followed(self, cable: Cable, client: Client, seen):
        outcome = waiting(lambda: Client(cable.address).wait("a", spec=spec()))
        seen("a")
        cable.unplug()
        client.reset_gate("a")
        cable.plug()
        client.reject("a", reason="no")
        decision = outcome()
        assert (decision.status, decision.reason, decision.gate.round) == (GateStatus.REJECTED, "no", 2)

    def test_a_gate_that_is_deleted_meanwhile_is_not_made_again(self, cable: Cable, client: Client, seen):
        outcome = waiting(lambda: Client(cable.address).wait("a", spec=spec()))
        seen("a")
        cable.unplug()
        client.delete_gate("a")
        cable.plug()
        assert isinstance(outcome(), GateDeletedError)
        assert client.list_gates().gates == []

    def test_a_gate_that_a_wait_has_seen_is_never_made_again(self, client: Client, seen):
        controller = GateController({"qa": ApprovalGate()}, scope="s")

        async def give_up():
            wait = asyncio.create_task(controller.wait_async("qa"))
            await asyncio.to_thread(seen, "s/qa")
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)

        asyncio.run(give_up())
        client.delete_gate("s/qa")
        again = waiting(lambda: controller.wait_sync("qa"))
        assert isinstance(again(), GateNotFoundError)
        assert client.list_gates().gates == []

    def test_nor_is_one_whose_wait_ended_with_its_deletion(self, cable: Cable, client: Client, seen, monkeypatch):
        monkeypatch.setenv("GATEPOST_SERVER", cable.address)
        controller = GateController({"qa": ApprovalGate()}, scope="s")
        outcome = waiting(lambda: controller.wait_sync("qa"))
        seen("s/qa")
        cable.unplug()
        client.delete_gate("s/qa")
        cable.plug()
        assert isinstance(outcome(), GateDeletedError)
        with pytest.raises(GateNotFoundError):
            controller.wait_sync("qa")
        assert client.list_gates().gates == []

    def test_another_gate_of_that_name_is_another(self, cable: Cable, client: Client, seen):
        outcome = waiting(lambda: Client(cable.address).wait("a", spec=spec()))
        seen("a")
        cable.unplug()
        client.delete_gate("a")
        client.create_gate("a")
        client.approve("a")
        cable.plug()
        assert isinstance(outcome(), GateDeletedError)

    def test_a_stop_and_a_start_are_waited_out(self, coordinator: Coordinator, client: Client):
        gate = ApprovalGate(timeout=60)
        outcome = waiting(gate.wait_sync)
        eventually(lambda: client.list_gates(statuses=[GateStatus.WAITING]).gates, "it waits")
        coordinator.stop()
        coordinator.restart()
        gate.approve()
        assert outcome() is None

    def test_an_async_wait_outlives_a_crash(self, coordinator: Coordinator, client: Client):
        controller = GateController({"qa": ApprovalGate(timeout=60)})
        outcome = waiting(lambda: asyncio.run(controller.wait_async("qa")))
        until_waiters(client, f"{controller.scope}/qa", 1)
        coordinator.kill()
        coordinator.restart()
        controller.approve("qa")
        assert outcome() is None

    def test_silence_is_noticed(self, coordinator: Coordinator, client: Client, monkeypatch):
        monkeypatch.setattr(gatepost._stream, "SILENCE_SECONDS_MAX", 1.0)
        client.create_gate("a")
        client.approve("a")
        with Proxy(coordinator.address) as proxy, Client(proxy.address) as quiet:
            proxy.silence = 2
            assert quiet.wait("a").approved
            # More, if the machine was busy.
            assert len(proxy.requests("Wait")) >= 3

    def test_a_gate_that_is_deleted_in_mid_wait_is_rejected(self, client: Client):
        controller = GateController({"qa": ApprovalGate()})
        outcome = waiting(lambda: controller.wait_sync("qa"))
        until_waiters(client, f"{controller.scope}/qa", 1)
        client.delete_gate(f"{controller.scope}/qa")
        error = outcome()
        assert isinstance(error, GateRejectedError)
        assert str(error) == "Gate 'qa' was rejected: the gate was deleted"


class TestNothingIsLeft:
    def test_of_200_waits_that_are_cancelled_half_way(self, cable: Cable, client: Client, monkeypatch):
        monkeypatch.setenv("GATEPOST_SERVER", cable.address)
        controller = GateController({"qa": ApprovalGate(timeout=60)})
        gate = f"{controller.scope}/qa"

        def count():
            # Not through the cable.
            return [found.waiter_count for found in client.list_gates().gates]

        async def until(waiters):
            for _ in range(3000):
                if await asyncio.to_thread(count) == [waiters]:
                    return
                await asyncio.sleep(0.01)
            pytest.fail(f"there are never {waiters} waiters: {count()}")

        async def crowd():
            await asyncio.to_thread(count)
            before = threads()
            waits = [asyncio.create_task(controller.wait_async("qa")) for _ in range(200)]
            await until(200)
            assert cable.connections == 1
            for wait in waits[:100]:
                wait.cancel()
            ended = await asyncio.gather(*waits[:100], return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended)
            await until(100)
            client.approve(gate)
            assert await asyncio.gather(*waits[100:]) == [None] * 100
            await until(0)
            await until_alone()
            assert threads() <= before

        asyncio.run(crowd())
        assert client.get_gate(gate).waiter_count == 0
        assert not any(shared._of_loops for shared in _shared._shared.values())

    def test_of_waits_that_are_all_cancelled(self, client: Client):
        controller = GateController({"qa": ApprovalGate()})

        async def crowd():
            waits = [asyncio.create_task(controller.wait_async("qa")) for _ in range(20)]
            while not any(found.waiter_count == 20 for found in client.list_gates().gates):
                await asyncio.sleep(0.01)
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            await until_alone()

        asyncio.run(crowd())
        until_waiters(client, f"{controller.scope}/qa", 0)

    def test_of_a_wait_that_is_given_up(self, client: Client):
        controller = GateController({"qa": ApprovalGate()})

        async def give_up():
            wait = asyncio.create_task(controller.wait_async("qa"))
            await asyncio.to_thread(until_waiters, client, f"{controller.scope}/qa", 1)
            wait.cancel()
            with pytest.raises(asyncio.CancelledError):
                await wait

        asyncio.run(give_up())
        until_waiters(client, f"{controller.scope}/qa", 0)
        assert controller.status("qa") is GateStatus.WAITING

    def test_blocking_waits_need_no_threads_but_their_own(self, client: Client):
        controller = GateController({"qa": ApprovalGate()})
        assert controller.status("qa") is GateStatus.PENDING
        before = threads()
        waits = [waiting(lambda: controller.wait_sync("qa")) for _ in range(50)]
        until_waiters(client, f"{controller.scope}/qa", 50)
        assert threads() <= before
        controller.approve("qa")
        assert [outcome() for outcome in waits] == [None] * 50
        assert threads() <= before
