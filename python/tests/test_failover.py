"""Clients that know several endpoints: what they wait on, watch and ask for goes on when one of them is gone.

All endpoints lead to one coordinator, over cables that can be unplugged and proxies that lose replies, or to nobody.
"""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from conftest import Coordinator, eventually, until_waiters
from faults import Cable, Proxy
from gatepost import (
    AddressError,
    ApprovalGate,
    AsyncClient,
    Client,
    GateController,
    GateStatus,
    UnavailableError,
    _calls,
    spec,
    v1,
)

WAITS = 60
A_THIRD = WAITS // 3


@pytest.fixture
def dead():
    """Where nobody listens."""
    return "127.0.0.1:1"


@pytest.fixture
def unhurried(monkeypatch):
    """An endpoint has the whole time of a call, as the last one does: a busy machine is waited for."""
    monkeypatch.setattr(_calls, "CALL_SECONDS_BEFORE_NEXT", _calls.CALL_SECONDS_MAX)


@pytest.fixture
def silent():
    """Where connections are made and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def cables(coordinator):
    """Three ways to the coordinator."""
    cables = [Cable(coordinator.address) for _ in range(3)]
    yield cables
    for cable in cables:
        cable.close()


def all_of(cables):
    return ",".join(cable.address for cable in cables)


class TestAddresses:
    def test_several_have_commas_between(self, monkeypatch):
        for given in ("a:1, http://b:2/ ,[::1]:3", "a:1,b:2,[::1]:3"):
            assert Client(given).address == "http://a:1,http://b:2,http://[::1]:3"
            monkeypatch.setenv("GATEPOST_SERVER", given)
            assert AsyncClient().address == GateController().client.address == Client(given).address
        assert Client("a:1,b:2", tls=True).address == "https://a:1,https://b:2"

    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ("a:1,", "an address is missing beside a comma"),
            ("a:1,,b:2", "an address is missing beside a comma"),
            ("a:1,https://b:2", "it mixes http:// and https://"),
            ("a:1,b:2,http://A:1/", "it names A:1 twice"),
            ("a:1,b", "'b' is not the address of a coordinator: it has no port"),
        ],
    )
    def test_those_that_do_not_go_together_are_refused(self, given, problem):
        with pytest.raises(AddressError, match=problem):
            Client(given)

    def test_a_token_goes_to_none_where_it_may_not_go_to_all(self):
        with pytest.raises(AddressError, match=r"'gates.test:2'.*use https://"):
            Client("127.0.0.1:1,gates.test:2", token="secret")
        Client("https://a:1,https://b:2", token="secret")


class TestCalls:
    def test_they_are_answered_though_the_first_is_dead(self, coordinator: Coordinator, dead):
        with Client(f"{dead},{coordinator.address}") as client:
            client.create_gate("a")
            assert GateStatus.of(client.approve("a")) is GateStatus.APPROVED
        # It was never sent to who is dead.
        with Client(f"{dead},{coordinator.address}") as client:
            client.delete_gate("a")

    def test_they_are_answered_though_the_first_is_silent(self, coordinator: Coordinator, silent):
        with Client(f"{silent},{coordinator.address}") as client:
            client.create_gate("a")
            assert client._inner._calls._answered == 1

        async def approve():
            async with AsyncClient(f"{silent},{coordinator.address}") as client:
                return await client.approve("a")

        assert GateStatus.of(asyncio.run(approve())) is GateStatus.APPROVED

    def test_all_that_cannot_be_reached_are_named(self, dead):
        with pytest.raises(UnavailableError) as error, Client(f"{dead},127.0.0.1:2") as client:
            client.list_gates()
        said = f"cannot reach http://{dead} (connection refused); cannot reach http://127.0.0.1:2 (connection refused)"
        assert str(error.value) == said

    @pytest.mark.usefixtures("unhurried")
    def test_a_lost_reply_is_repeated_elsewhere_and_never_a_second_decision(self, coordinator: Coordinator, client):
        with Proxy(coordinator.address) as one, Proxy(coordinator.address) as other:
            with Client(f"{one.address},{other.address}") as far:
                far.create_gate("a")
                one.lose = 1
                approved = far.approve("a", comment="once")
            requests = [v1.ApproveRequest.FromString(*proxy.requests("Approve")) for proxy in (one, other)]
        assert requests[0] == requests[1]
        assert requests[0].request_id
        assert [event.gate for event in client.list_events("a")][1:] == [approved]

    def test_a_deletion_that_was_sent_is_not_repeated(self, coordinator: Coordinator, client: Client):
        client.create_gate("a")
        with Proxy(coordinator.address) as one, Proxy(coordinator.address) as other:
            one.lose = 1
            far = Client(f"{one.address},{other.address}")
            with pytest.raises(UnavailableError, match="the reply is lost"), far:
                far.delete_gate("a")
            assert other.requests("DeleteGate") == []

    @pytest.mark.usefixtures("unhurried")
    def test_one_too_many_goes_nowhere_before_it_may(self, coordinator: Coordinator):
        with Proxy(coordinator.address) as one, Proxy(coordinator.address) as other:
            one.too_many = [60.0]
            far = Client(f"{one.address},{other.address}")
            with pytest.raises(UnavailableError, match="too many calls"), far:
                far.list_gates()
            assert other.calls == []


class TestStreams:
    @pytest.mark.parametrize("blocking", [True, False])
    def test_a_wait_goes_on_elsewhere_and_is_told_what_was_decided_meanwhile(
        self, cables: list[Cable], client: Client, seen, blocking
    ):
        decisions = []

        async def wait():
            async with AsyncClient(all_of(cables[:2])) as far:
                return await far.wait("a", spec=spec())

        def wait_here():
            if blocking:
                with Client(all_of(cables[:2])) as far:
                    decisions.append(far.wait("a", spec=spec()))
            else:
                decisions.append(asyncio.run(wait()))

        thread = threading.Thread(target=wait_here, daemon=True)
        thread.start()
        seen("a")
        used, unused = sorted(cables[:2], key=lambda cable: -cable.connections)
        unused.unplug()
        used.unplug()
        client.approve("a", inputs={"n": 1})
        client.reset_gate("a")
        # Only the other one comes back.
        unused.plug()
        thread.join(30)
        (decision,) = decisions
        assert (decision.status, decision.gate.round, decision.inputs) == (GateStatus.APPROVED, 1, {"n": 1})

    def test_a_wait_begins_though_one_is_silent(self, coordinator: Coordinator, client: Client, silent):
        client.approve(client.create_gate("a").name)
        with Client(f"{silent},{coordinator.address}") as far:
            # One of each two begins there.
            assert [far.wait("a").approved for _ in range(2)] == [True, True]

    def test_waits_are_spread(self, cables: list[Cable], client: Client):
        def moments():
            """When each of those who wait now connected."""
            return [waiter.since.ToNanoseconds() for waiter in client.get_gate("a").waiters]

        async def crowd():
            async with AsyncClient(all_of(cables)) as far:
                waits = [asyncio.create_task(far.wait("a", spec=spec())) for _ in range(WAITS)]
                await asyncio.to_thread(until_waiters, client, "a", WAITS)
                assert [cable.connections for cable in cables] == [1, 1, 1]
                before = max(moments())
                # Those of one way alone have to find another.
                cables[0].unplug()

                def are_back():
                    return sorted(moment > before for moment in moments()) == [False] * 2 * A_THIRD + [True] * A_THIRD

                await asyncio.to_thread(eventually, are_back, "those of one way are back, and no others had to be")
                await asyncio.to_thread(client.approve, "a")
                return await asyncio.gather(*waits)

        assert all(decision.approved for decision in asyncio.run(crowd()))

    def test_each_of_three_gets_a_third_of_the_waits(self, coordinator: Coordinator, client: Client):
        with (
            Proxy(coordinator.address) as one,
            Proxy(coordinator.address) as two,
            Proxy(coordinator.address) as three,
            Client(f"{one.address},{two.address},{three.address}") as far,
        ):
            client.approve(client.create_gate("a").name)
            for _ in range(WAITS):
                assert far.wait("a").approved
            assert [len(proxy.requests("Wait")) for proxy in (one, two, three)] == [A_THIRD] * 3

    @pytest.mark.parametrize("blocking", [True, False])
    def test_a_watch_through_failovers_misses_nothing_and_repeats_nothing(
        self, cables: list[Cable], client: Client, blocking
    ):
        first = client.create_gate("a").revision
        total = 61
        told: list[int] = []

        def follow():
            with Client(all_of(cables)) as far, far.watch(start_revision=first) as watch:
                told.extend(next(watch).revision for _ in range(total))

        async def follow_async():
            async with AsyncClient(all_of(cables)) as far, far.watch(start_revision=first) as watch:
                while len(told) < total:
                    told.append((await watch.__anext__()).revision)

        thread = threading.Thread(target=follow if blocking else lambda: asyncio.run(follow_async()), daemon=True)
        thread.start()
        for number in range(total - 1):
            if number % 10 == 5:
                gone = cables[number // 10 % 3]
                gone.unplug()
                client.reset_gate("a")
                gone.plug()
            else:
                client.reset_gate("a")
        thread.join(30)
        assert told == [event.revision for event in client.list_events()]
        assert len(told) == total

    def test_gates_go_on_elsewhere(self, coordinator: Coordinator, client: Client, dead):
        controller = GateController({"qa": ApprovalGate(timeout=60)}, server=f"{dead},{coordinator.address}")
        thread = threading.Thread(target=controller.wait_sync, args=["qa"], daemon=True)
        thread.start()
        until_waiters(client, f"{controller.scope}/qa", 1)
        controller.approve("qa")
        thread.join(30)
        assert not thread.is_alive()
