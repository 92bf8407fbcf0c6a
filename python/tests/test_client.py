"""The clients: every call, its retries and errors, what they show, and watches that resume."""

from __future__ import annotations

import asyncio
import logging
import pickle
import shutil
import threading
from pathlib import Path

import grpc
import pytest
import trustme

import gatepost
from conftest import Coordinator, eventually, until_waiters
from faults import Cable, Proxy
from gatepost import (
    AddressError,
    AlreadyResolvedError,
    ApprovalGate,
    AsyncClient,
    Client,
    ClosedError,
    GateChangedError,
    GateController,
    GateNotFoundError,
    GatepostError,
    GateStatus,
    InvalidRequestError,
    RefusedError,
    RevisionError,
    RoundResetError,
    SpecConflictError,
    StoreReplacedError,
    UnavailableError,
    errors,
    spec,
    v1,
)

REPOSITORY = Path(__file__).parents[2]
from gatepost.v1 import gate_service_pb2  # isort
WAITING, RESOLVED = v1.EventType.EVENT_TYPE_WAITING, v1.EventType.EVENT_TYPE_RESOLVED


class TestCalls:
    def test_every_call_of_the_service_is_there_in_both(self):
        service = gate_service_pb2.DESCRIPTOR.services_by_name["GateService"]
        calls = {"".join(f"_{c.lower()}" if c.isupper() else c for c in method.name)[1:] for method in service.methods}
        assert calls == {
            "create_gate",
            "get_gate",
            "list_gates",
            "delete_gate",
            "wait",
            "approve",
            "reject",
            "reset_gate",
            "reset_gates",
            "watch",
            "list_events",
        }
        for kind in (Client, AsyncClient):
            for call in calls:
                assert getattr(kind, call).__doc__, f"{kind.__name__}.{call} has no documentation"

    def test_a_gate_from_end_to_end(self, client: Client):
        made = client.create_gate(
            "r/a", spec(timeout=1.5, title="t", links=[v1.Link(title="log", url="http://x.org/")])
        )
        assert (made.name, made.spec.timeout.nanos, made.spec.links[0].title) == ("r/a", 500_000_000, "log")
        approved = client.approve("r/a", comment="fine", inputs={"n": [1, None]}, etag=made.etag, on_behalf_of="ann")
        decision = client.wait("r/a", waiter=v1.Waiter(id="job-7"))
        assert decision.approved
        assert (decision.status, decision.by, decision.reason) == (GateStatus.APPROVED, "anonymous", "fine")
        assert decision.inputs == {"n": [1, None]}
        assert decision.gate.revision == approved.revision
        assert client.reset_gate("r/a").round == 2
        assert [gate.round for gate in client.reset_gates("r")] == [3]
        assert client.get_gate("r/a", round=1).resolution.on_behalf_of == "ann"
        assert client.reject("r/a", reason="no", round=3, validate_only=True).revision == 0
        client.reject("r/a", reason="no")
        assert client.wait("r/a", round=1).approved
        assert client.wait("r/a").status is GateStatus.REJECTED
        client.delete_gate("r/a")
        types = [v1.EventType.Name(event.type).removeprefix("EVENT_TYPE_") for event in client.list_events("r/a")]
        assert types == ["CREATED", "RESOLVED", "RESET", "RESET", "RESOLVED", "DELETED"]

    async def test_the_same_on_an_event_loop(self, coordinator: Coordinator):
        async with AsyncClient() as client:
            await client.create_gate("r/a", spec(auto_approve=True))
            assert (await client.wait("r/a")).approved
            await client.reset_gate("r/a")
            waiting = asyncio.create_task(client.wait("r/a"))
            async with client.watch("r", statuses=[GateStatus.WAITING], initial_state=True) as watch:
                event = await anext(watch)
            assert (event.name, GateStatus.of(event.gate)) == ("r/a", GateStatus.WAITING)
            await client.reject("r/a", reason="no")
            assert (await waiting).reason == "no"
            assert len(await client.reset_gates("r")) == 1
            await client.approve("r/a")
            assert GateStatus.of(await client.get_gate("r/a")) is GateStatus.APPROVED
            await client.delete_gate("r/a")
            assert (await client.list_gates()).gates == []
            assert len(await client.list_events(prefix="r")) == 7
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def test_lists_follow_their_pages(self, client: Client):
        names = [f"r/{number:03}" for number in range(150)]
        for name in names:
            client.create_gate(name)
        client.approve("r/007")
        listing = client.list_gates("r")
        assert [gate.name for gate in listing.gates] == names
        assert listing.revision == client.get_gate("r/007").revision
        assert [gate.name for gate in client.list_gates(statuses=[GateStatus.APPROVED]).gates] == ["r/007"]
        assert len(client.list_events()) == 151

    async def test_a_client_belongs_to_one_loop(self, coordinator: Coordinator):
        client = AsyncClient()
        await client.list_gates()
        with pytest.raises(RuntimeError, match="belongs to the event loop that first used it"):
            await asyncio.to_thread(lambda: asyncio.run(client.list_gates()))
        await client.close()

    def test_a_closed_client_says_so(self, client: Client, coordinator: Coordinator):
        other = Client()
        ended = []

        def wait():
            with pytest.raises(ClosedError) as caught:
                other.wait("a", spec=spec())
            ended.append(caught.value)

        thread = threading.Thread(target=wait)
        thread.start()
        until_waiters(client, "a", 1)
        other.close()
        thread.join()
        assert ended
        with pytest.raises(ClosedError, match="closed"):
            other.list_gates()
        other.close()


class TestErrors:
    def test_every_reason_of_the_readme_has_an_error(self):
        rows = [line for line in (REPOSITORY / "README.md").read_text().splitlines() if line.startswith("| ")]
        codes = {code.name for code in grpc.StatusCode}
        reasons = {
            part.strip(" `|") for row in rows if row.split()[1] in codes for part in row.split("|")[2].split(",")
        }
        assert reasons == set(errors.REASONS)

    def test_refusals_have_their_types(self, client: Client):
        client.create_gate("a", spec(timeout=60))
        client.approve("a")
        cases = [
            (InvalidRequestError, "INVALID_NAME", lambda: client.get_gate("no gate")),
            (InvalidRequestError, "INVALID_SPEC", lambda: client.create_gate("b", spec(timeout=-1))),
            (InvalidRequestError, "REQUEST_ID_REUSED", lambda: [client.reset_gate(n, request_id="x") for n in "cd"]),
            (GateNotFoundError, "GATE_NOT_FOUND", lambda: client.wait("b")),
            (GateNotFoundError, "ROUND_NOT_FOUND", lambda: client.get_gate("a", round=9)),
            (SpecConflictError, "GATE_EXISTS", lambda: client.create_gate("a")),
            (SpecConflictError, "SPEC_CONFLICT", lambda: client.wait("a", spec=spec())),
            (AlreadyResolvedError, "GATE_ALREADY_RESOLVED", lambda: client.reject("e")),
            (GateChangedError, "ETAG_MISMATCH", lambda: client.delete_gate("a", etag="1-1")),
            (GateChangedError, "ROUND_MISMATCH", lambda: client.approve("a", round=9)),
            (GateChangedError, "SUBJECT_CHANGED", lambda: client.approve("d", subject_digest="sha256:0")),
            (RoundResetError, "ROUND_RESET", lambda: client.wait("a", round=2)),
            (RevisionError, "REVISION_AHEAD", lambda: next(client.watch(start_revision=10**6))),
        ]
        for name in "cde":
            client.create_gate(name)
        client.approve("e")
        client.reset_gate("a")
        client.reset_gate("a")
        for kind, reason, call in cases:
            with pytest.raises(RefusedError) as caught:
                call()
            assert (type(caught.value), caught.value.reason) == (kind, reason)
            again = pickle.loads(pickle.dumps(caught.value))
            assert (type(again), vars(again)) == (kind, vars(caught.value))

    def test_a_refusal_says_what_a_program_needs(self, client: Client):
        client.create_gate("a")
        client.reject("a", reason="no")
        with pytest.raises(AlreadyResolvedError, match="gate a is REJECTED already by anonymous") as caught:
            client.approve("a")
        assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
        assert caught.value.metadata["status"] == "REJECTED"
        assert caught.value.metadata["by"] == "anonymous"

    @pytest.mark.parametrize("code", grpc.StatusCode)
    def test_what_something_in_between_says_is_final_only_where_the_caller_is_wrong(self, code):
        status = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="no route")
        error = errors.from_rpc_error(status, "http://h:1")
        final = {"INVALID_ARGUMENT", "OUT_OF_RANGE", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED"}
        assert isinstance(error, RefusedError if code.name in final else UnavailableError)

    def test_all_are_errors_of_the_sdk(self):
        kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
        ours = {kind for kind in kinds if kind.__module__ == "gatepost.errors"}
        assert {kind for kind in ours if not issubclass(kind, GatepostError)} == {
            gatepost.GateRejectedError,
            gatepost.GateTimeoutError,
        }
        assert all(kind.__name__ in gatepost.__all__ for kind in ours)


class TestRetries:
    def test_a_call_is_tried_for_a_bounded_time(self, monkeypatch):
        with pytest.raises(UnavailableError, match=r"cannot reach http://127.0.0.1:1 \(connection refused\)"):
            Client("127.0.0.1:1").approve("a")

    def test_a_call_outlives_a_restart(self, coordinator: Coordinator, client: Client):
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


class TestWatch:
    def test_it_tells_what_happens_in_order(self, client: Client):
        client.create_gate("r/a")
        with client.watch("r", initial_state=True) as watch:
            told = [next(watch)]
            client.create_gate("other")
            client.approve("r/a")
            client.reset_gate("r/a")
            told += [next(watch) for _ in range(2)]
        kinds = [v1.EventType.Name(event.type).removeprefix("EVENT_TYPE_") for event in told]
        assert kinds == ["EXISTING", "RESOLVED", "RESET"]
        assert watch.revision == client.get_gate("r/a").revision
        assert list(watch) == []

    @pytest.mark.parametrize("blocking", [True, False])
    def test_it_resumes_after_crashes_without_gap_or_repetition(
        self, coordinator: Coordinator, client: Client, blocking
    ):
        first = client.create_gate("a").revision
        total = 60
        told = []

        def follow():
            with client.watch(start_revision=first) as watch:
                for event in watch:
                    told.append(event.revision)
                    if len(told) == total:
                        return

        async def follow_async():
            async with AsyncClient() as own, own.watch(start_revision=first) as watch:
                async for event in watch:
                    told.append(event.revision)
                    if len(told) == total:
                        return

        thread = threading.Thread(target=follow if blocking else lambda: asyncio.run(follow_async()))
        thread.start()
        for number in range(total - 1):
            if number % 20 == 10:
                eventually(lambda number=number: len(told) >= number // 2, "some is told")
                coordinator.kill()
                coordinator.restart()
            client.reset_gate("a")
        thread.join(30)
        assert told == [event.revision for event in client.list_events()]
        assert len(told) == total

    def test_another_thread_can_end_it(self, client: Client):
        watch = client.watch()
        thread = threading.Thread(target=lambda: list(watch))
        thread.start()
        eventually(
            lambda: watch.revision or client.reset_gate(client.create_gate("a").name).round == 0, "it is in place"
        )
        watch.close()
        thread.join(30)
        assert not thread.is_alive()
        assert list(watch) == []

    async def test_a_step_that_is_given_up_loses_nothing(self, coordinator: Coordinator):
        async with AsyncClient() as client, client.watch(initial_state=True) as watch:
            for number in range(5):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(anext(watch), 0.05)
                await client.create_gate(f"g{number}")
                assert (await anext(watch)).name == f"g{number}"

    def test_another_store_is_told(self, coordinator: Coordinator, client: Client, tmp_path: Path):
        client.create_gate("a")
        with client.watch(initial_state=True) as watch:
            next(watch)
            client.approve("a")
            next(watch)
            coordinator.kill()
            coordinator.restart(tmp_path / "other")
            for number in range(3):
                client.create_gate(f"b{number}")
            with pytest.raises(StoreReplacedError, match="has another store than before"):
                next(watch)

    def test_a_store_that_is_behind_is_told(self, coordinator: Coordinator, client: Client, tmp_path: Path):
        client.create_gate("a")
        coordinator.kill()
        shutil.copytree(coordinator.data, tmp_path / "backup")
        coordinator.restart()
        with client.watch(initial_state=True) as watch:
            next(watch)
            for _ in range(5):
                client.reset_gate("a")
                next(watch)
            coordinator.kill()
            coordinator.restart(tmp_path / "backup")
            with pytest.raises(RevisionError):
                next(watch)


class TestFollowers:
    def test_waiting_gates_are_approved_by_their_rules(self, client: Client, caplog):
        names = ("yes", "no", "fails", "none")
        controller = GateController({name: ApprovalGate(timeout=60) for name in names}, scope="s")
        asked = []

        def no():
            asked.append("no")
            return False

        def fails():
            asked.append("fails")
            raise ValueError("the tests are gone")

        # One waits before the approver is there.
        waits = {}

        def begin(name):
            waits[name] = threading.Thread(target=lambda: controller.wait_sync(name), daemon=True)
            waits[name].start()
            until_waiters(client, f"s/{name}", 1)

        begin("no")
        with controller.auto_approver({"yes": lambda: True, "no": no, "fails": fails, "nowhere": lambda: True}):
            begin("fails")
            begin("none")
            waits["yes"] = threading.Thread(target=lambda: controller.wait_sync("yes"))
            waits["yes"].start()
            waits["yes"].join(30)
            assert controller.status("yes") is GateStatus.APPROVED
        assert asked == ["no", "fails"]
        assert client.get_gate("s/yes").resolution.reason == "approved by a rule"
        assert controller.waiting_gates() == ["no", "fails", "none"]
        assert "the callback for gate s/fails failed" in caplog.text
        for name in names:
            controller.approve(name)
            waits[name].join()

    def test_only_the_round_that_was_looked_at_is_approved(self, client: Client, caplog):
        caplog.set_level(logging.INFO, "gatepost")
        controller = GateController({"qa": ApprovalGate()}, scope="s")
        looked, go_on = threading.Event(), threading.Event()

        def rule():
            looked.set()
            go_on.wait(30)
            return True

        thread = threading.Thread(target=lambda: controller.wait_sync("qa"))
        thread.start()
        with controller.auto_approver({"qa": rule}):
            looked.wait(30)
            client.reset_gate("s/qa")
            go_on.set()
            eventually(lambda: "came too late" in caplog.text, "it is refused")
        assert client.get_gate("s/qa").round == 2
        controller.approve("qa")
        thread.join()

    def test_a_bot_is_told_once_in_each_round_through_crashes(self, coordinator: Coordinator, client: Client):
        controller = GateController({"a": ApprovalGate(), "b": ApprovalGate()}, scope="s")
        told: list[str] = []
        workers = []

        def work(name):
            workers.append(threading.Thread(target=lambda: controller.wait_sync(name)))
            workers[-1].start()

        with controller.notify(told.append) as bot:
            for name in ("a", "b"):
                work(name)
                eventually(lambda name=name: name in told, f"{name} is told")
                coordinator.kill()
                coordinator.restart()
                controller.approve(name)
            client.reset_gate("s/a")
            work("a")
            eventually(lambda: told == ["a", "b", "a"], "it is told again")
            controller.approve("a")
            for worker in workers:
                worker.join(30)
            with pytest.raises(TimeoutError):
                bot.join(timeout=0.01)
        bot.join()

    async def test_on_an_event_loop(self, coordinator: Coordinator):
        told = []
        async with AsyncClient() as client:
            other = [
                asyncio.create_task(client.notify(lambda gate: told.append(gate.name))),
                asyncio.create_task(client.auto_approver({"a": lambda: True, "b": _yes})),
            ]
            for name in ("a", "b"):
                assert (await client.wait(name, spec=spec())).approved
            while told != ["a", "b"]:
                await asyncio.sleep(0.01)
            for task in other:
                task.cancel()
            await asyncio.gather(*other, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def test_one_that_is_refused_says_so(self, client: Client, caplog):
        bot = client.notify(print, prefix="no prefix")
        with pytest.raises(InvalidRequestError):
            bot.join(timeout=30)
        eventually(lambda: "following gates ended" in caplog.text, "it is logged")


async def _yes():
    await asyncio.sleep(0)
    return True
