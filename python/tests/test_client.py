"""The clients have every call of the coordinator, and its errors have types."""

from __future__ import annotations

import asyncio
import pickle
import re
import threading
from pathlib import Path

import grpc
import pytest

import gatepost
from conftest import Coordinator, until_alone, until_waiters
from gatepost import (
    AlreadyResolvedError,
    AsyncClient,
    Client,
    ClosedError,
    GateChangedError,
    GateNotFoundError,
    GatepostError,
    GateStatus,
    InvalidRequestError,
    RefusedError,
    RevisionError,
    RoundResetError,
    SpecConflictError,
    UnavailableError,
    errors,
    spec,
    v1,
)
from gatepost.v1 import gate_service_pb2

REPOSITORY = Path(__file__).parents[2]


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
            "report_evidence",
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
        assert client.report_evidence("r/a", {"tests": "failed"}).evidence == {"tests": "failed"}
        made = client.report_evidence("r/a", {"tests": "passed"}, round=1)
        assert client.get_gate("r/a").evidence == made.evidence == {"tests": "passed"}
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
        assert types == ["CREATED", *["EVIDENCE_REPORTED"] * 2, "RESOLVED", "RESET", "RESET", "RESOLVED", "DELETED"]

    async def test_the_same_on_an_event_loop(self, coordinator: Coordinator):
        async with AsyncClient() as client:
            await client.create_gate("r/a", spec(auto_approve=True))
            with pytest.raises(AlreadyResolvedError):
                await client.report_evidence("r/a", {"tests": "passed"})
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
        await until_alone()

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


def reasons_of(source: str) -> set[str]:
    """The reasons that code of the coordinator has, its tests left out."""
    found = re.findall(r'"([A-Z][A-Z_]+)"', (REPOSITORY / source).read_text().partition("#[cfg(test)]")[0])
    assert found, f"{source} has no reasons"
    return set(found)


class TestErrors:
    def test_every_reason_has_an_error_and_is_in_the_readme(self):
        rows = [line for line in (REPOSITORY / "README.md").read_text().splitlines() if line.startswith("| ")]
        codes = {code.name for code in grpc.StatusCode}
        documented = {
            part.strip(" `|") for row in rows if row.split()[1] in codes for part in row.split("|")[2].split(",")
        }
        assert documented == reasons_of("src/grpc/status.rs")
        assert documented == set(errors.REASONS)

    def test_every_reason_of_http_is_in_the_readme(self):
        found = set().union(*(reasons_of(f"src/http/{source}.rs") for source in ("status", "hosts", "session")))
        assert found >= {"PATH_NOT_FOUND", "METHOD_NOT_ALLOWED", "OTHER_HOST", "OTHER_SITE"}
        readme = (REPOSITORY / "README.md").read_text()
        # Those of HTTP alone stand in its text, the others in the table.
        assert [reason for reason in found if f"`{reason}`" not in readme] == []

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
