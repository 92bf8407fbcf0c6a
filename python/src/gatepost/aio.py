"""The client of the coordinator for asyncio: every call of the API, and waits and watches that outlive connections."""

from __future__ import annotations

import inspect
import logging
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from google.protobuf import empty_pb2

from gatepost import v1
from gatepost._backoff import Pauses, no_sooner, pause
from gatepost._calls import Calls
from gatepost._endpoint import Endpoints, Tls, Token
from gatepost._memory import WaitMemory
from gatepost._watch import AsyncWatch
from gatepost.errors import (
    AlreadyResolvedError,
    GateChangedError,
    GateNotFoundError,
    GatepostError,
    RevisionError,
    StoreReplacedError,
    TooEarlyError,
    UnavailableError,
)
from gatepost.model import Decision, GateStatus, Listing, struct_of, this_process

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
    from types import TracebackType


log = logging.getLogger("gatepost")


class AsyncClient:
    """A way to a coordinator, on one event loop: the one that first uses it. On another one it raises `RuntimeError`.

    It connects when it is first used and again when a connection breaks. Waits and watches have a connection of their
    own, so that calls never queue behind them. A coordinator takes 1,024 streams on one connection, and those beyond
    that wait for one of them to end: a program with more than 1,000 waits and watches makes more clients.

    Calls are tried again for about two seconds while the coordinator cannot be reached, or says that it is unavailable
    or that there are too many of them, and no sooner than it says; one attempt may take ten. That is safe for calls
    that change something because each carries a `request_id`, a random one where the caller gave none; `delete_gate`
    has none, and is tried once.

    Of several endpoints, the one that answered last is asked, and after it, at once, the others: when it fails or says
    nothing for two seconds; for a deletion only if it was never sent. Waits and watches are spread over all.

    Every call raises `UnavailableError` when that time is over, and `RefusedError`, or the one of its subclasses that
    says why, when the coordinator refuses.

    Args:
        server: `http://host:port`, `https://host:port` or `host:port`, or several of these with commas between, which
            serve one store. Default: GATEPOST_SERVER, else `http://127.0.0.1:7070`.
        token: Shown to the coordinator as a bearer token: the token itself, or a `Path` of a file with it, which is
            read for each call. Default: the file GATEPOST_TOKEN_FILE, else GATEPOST_TOKEN, else none. It is sent over
            TLS or to this host, and elsewhere only if GATEPOST_TOKEN_OVER_HTTP is set.
        tls: True, the path of a PEM file with the roots to trust, or `grpc.ssl_channel_credentials(...)`, which may
            hold a certificate to show. Default: TLS if the address says `https`, with the roots of GATEPOST_CACERT and
            the certificate of GATEPOST_CERT and GATEPOST_KEY, as far as they are set.

    Raises:
        AddressError: The server is no address, only some have TLS, or others could read the token on its way there.

    """

    def __init__(self, server: str | None = None, *, token: Token = None, tls: Tls = None) -> None:
        self._calls = Calls(Endpoints.of(server, token, tls))

    @classmethod
    def _of(cls, endpoints: Endpoints) -> AsyncClient:
        """Makes a client of endpoints."""
        client = cls.__new__(cls)
        client._calls = Calls(endpoints)  # noqa: SLF001
        return client

    @property
    def address(self) -> str:
        """Where the coordinator is, as `http://host:port`; of several, all with commas between."""
        return self._calls.endpoints.address

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, so that every call raises `ClosedError`."""
        return self._calls.is_closed

    async def create_gate(self, gate: str, spec: v1.Spec | None = None, *, request_id: str = "") -> v1.Gate:
        """Creates a gate; succeeds if it exists with an equal spec. `gatepost.spec()` makes specs.

        Raises:
            SpecConflictError: It exists with another one.

        """
        request = v1.CreateGateRequest(gate=gate, spec=spec, request_id=request_id or _new_id())
        return await self._calls.call("CreateGate", request, v1.Gate)

    async def get_gate(self, gate: str, *, round: int = 0) -> v1.Gate:  # noqa: A002
        """Reads a gate, or how one of its past rounds ended.

        Raises:
            GateNotFoundError: There is no such gate, or it had no such round.

        """
        return await self._calls.call("GetGate", v1.GetGateRequest(gate=gate, round=round), v1.Gate)

    async def list_gates(self, prefix: str = "", *, statuses: Iterable[GateStatus] = ()) -> Listing:
        """Lists the gates below a prefix (whole leading segments), or all; with one of these statuses, or any."""
        wanted = [status.to_proto() for status in statuses]
        request = v1.ListGatesRequest(prefix=prefix, statuses=wanted)
        gates: list[v1.Gate] = []
        revision: int | None = None
        while True:
            page = await self._calls.call("ListGates", request, v1.ListGatesResponse)
            gates.extend(page.gates)
            # Later pages are of later revisions, whose changes the first page may lack.
            revision = page.revision if revision is None else revision
            if not page.next_page_token:
                return Listing(gates, revision)
            request.page_token = page.next_page_token

    async def delete_gate(self, gate: str, *, etag: str = "") -> None:
        """Deletes a gate, with an etag only in that state; waits on it end as rejected if it was undecided.

        It is tried once: after an `UnavailableError` the gate may be deleted or not.

        Raises:
            GateNotFoundError: There is no such gate.
            GateChangedError: It is in another state.

        """
        await self._calls.call("DeleteGate", v1.DeleteGateRequest(gate=gate, etag=etag), empty_pb2.Empty, repeat=False)

    async def wait(
        self,
        gate: str,
        *,
        spec: v1.Spec | None = None,
        round: int = 0,  # noqa: A002
        waiter: v1.Waiter | None = None,
        _on_seen: Callable[[], object] | None = None,
    ) -> Decision:
        """Waits until a gate's round is decided, through disconnects and restarts of the coordinator, and says how.

        A rejection or a timeout is an answer, not an error. After the first answer of the coordinator it neither misses
        a decision that came and was reset away while the connection was down, nor makes a gate again that was deleted.
        Cancelling it ends it on the coordinator too; the gate stays, and its deadline runs on.

        Args:
            gate: Its name.
            spec: Creates the gate where it is missing.
            round: 0 waits on the current round and follows resets; another number waits on exactly that round.
            waiter: Who waits, for people to see. Default: this host and process.

        Raises:
            GateNotFoundError: There is no such gate, and no spec to make it from.
            SpecConflictError: It exists with another spec.
            GateDeletedError: It was deleted while the connection was down.
            RoundResetError: The round that was named was reset undecided.

        """
        request = v1.WaitRequest(gate=gate, round=round, spec=spec, waiter=waiter or this_process())
        memory, turns = WaitMemory(request), self._calls.turns()
        while True:
            try:
                async with self._calls.open(turns, "Wait", memory.request(), v1.WaitResponse) as stream:
                    while True:
                        response = await stream.next()
                        turns.on_answer()
                        if response.HasField("gate"):
                            memory.on_gate(response.gate)
                            if _on_seen:
                                _on_seen()
                            status = GateStatus.of(response.gate).name
                            log.debug("gate %s is %s in round %d", gate, status, response.gate.round)
                            if decision := Decision.of(response.gate):
                                return decision
            except GatepostError as error:
                if memory.on_error(error):
                    await pause(turns.next(error), f"the wait on {gate}", error)

    async def approve(
        self,
        gate: str,
        *,
        comment: str = "",
        inputs: Mapping[str, Any] | None = None,
        round: int = 0,  # noqa: A002
        etag: str = "",
        subject_digest: str = "",
        on_behalf_of: str = "",
        validate_only: bool = False,
        request_id: str = "",
        break_glass_reason: str = "",
    ) -> v1.Gate:
        """Approves a gate's current round.

        Args:
            gate: Its name.
            comment: Why, for people.
            inputs: Handed to the workers, as JSON: `Decision.inputs`.
            round: If not 0, only if this is the current round.
            etag: If set, only if the gate is still in that state.
            subject_digest: If set, only if the gate is about that content.
            on_behalf_of: Whom the caller speaks for; claimed, not verified.
            validate_only: Checks and changes nothing.
            request_id: Names this decision, so that repeating the call decides once.
            break_glass_reason: Approves alone, whatever the gate asks for, and says why; in the place of a comment.

        Raises:
            AlreadyResolvedError: Somebody or the deadline was first.
            NotAllowedError: The caller has no grant to, is none of its approvers, or asked for it.
            TooEarlyError: It has to wait before an approval counts.
            GateNotFoundError: There is no such gate.
            GateChangedError: The gate is in another round or state, or about something else.
            ValueError: The inputs are not JSON, or have a whole number beyond 2^53, which would arrive as another.

        """
        request = v1.ApproveRequest(
            gate=gate,
            comment=comment,
            inputs=None if inputs is None else struct_of(inputs),
            round=round,
            etag=etag,
            subject_digest=subject_digest,
            on_behalf_of=on_behalf_of,
            validate_only=validate_only,
            request_id=request_id or _new_id(),
            break_glass_reason=break_glass_reason,
        )
        return await self._calls.call("Approve", request, v1.Gate)

    async def reject(
        self,
        gate: str,
        *,
        reason: str = "",
        round: int = 0,  # noqa: A002
        etag: str = "",
        subject_digest: str = "",
        on_behalf_of: str = "",
        validate_only: bool = False,
        request_id: str = "",
    ) -> v1.Gate:
        """Rejects a gate's current round. Arguments and errors are those of `approve`."""
        request = v1.RejectRequest(
            gate=gate,
            reason=reason,
            round=round,
            etag=etag,
            subject_digest=subject_digest,
            on_behalf_of=on_behalf_of,
            validate_only=validate_only,
            request_id=request_id or _new_id(),
        )
        return await self._calls.call("Reject", request, v1.Gate)

    async def report_evidence(
        self,
        gate: str,
        facts: Mapping[str, str],
        *,
        round: int = 0,  # noqa: A002
        request_id: str = "",
    ) -> v1.Gate:
        """Adds facts such as `{"tests": "passed"}` to a gate's round, for approvers and rules. Errors as `approve`."""
        request = v1.ReportEvidenceRequest(gate=gate, facts=facts, round=round, request_id=request_id or _new_id())
        return await self._calls.call("ReportEvidence", request, v1.Gate)

    async def reset_gate(self, gate: str, *, request_id: str = "") -> v1.Gate:
        """Begins a new round of a gate. Workers whose round was undecided follow it.

        Raises:
            GateNotFoundError: There is no such gate.

        """
        request = v1.ResetGateRequest(gate=gate, request_id=request_id or _new_id())
        return await self._calls.call("ResetGate", request, v1.Gate)

    async def reset_gates(self, prefix: str, *, request_id: str = "") -> list[v1.Gate]:
        """Begins a new round of every gate below a prefix.

        Raises:
            LimitError: They are more than 160; none was reset.

        """
        request = v1.ResetGatesRequest(prefix=prefix, request_id=request_id or _new_id())
        return list((await self._calls.call("ResetGates", request, v1.ResetGatesResponse)).gates)

    async def list_events(self, gate: str = "", *, prefix: str = "") -> list[v1.Event]:
        """Reads the history of a gate, of the gates below a prefix, or of all, oldest first, deleted gates included."""
        request = v1.ListEventsRequest(gate=gate, prefix=prefix)
        events: list[v1.Event] = []
        while True:
            page = await self._calls.call("ListEvents", request, v1.ListEventsResponse)
            events.extend(page.events)
            if not page.next_page_token:
                return events
            request.page_token = page.next_page_token

    def watch(
        self,
        prefix: str = "",
        *,
        statuses: Iterable[GateStatus] = (),
        start_revision: int = 0,
        initial_state: bool = False,
    ) -> AsyncWatch:
        """Watches what happens to gates, through disconnects and restarts of the coordinator.

        Args:
            prefix: Whole leading segments of names. Empty: all gates.
            statuses: Only events after which the gate has one of these. Empty: any.
            start_revision: The first revision to tell. 0: what happens from now on.
            initial_state: Tells what exists first, each gate as an event of type EXISTING. Not with start_revision.

        """
        wanted = [status.to_proto() for status in statuses]
        request = v1.WatchRequest(
            prefix=prefix, statuses=wanted, start_revision=start_revision, initial_state=initial_state
        )
        return AsyncWatch(self._calls, request)

    async def notify(self, callback: Callable[[v1.Gate], Awaitable[object] | object], prefix: str = "") -> None:
        """Calls back with each gate that waits, and with each that begins to, until it is cancelled.

        Calls come one after another: a callback that takes long holds up the next. What it raises is logged, and the
        gate is not told again. What still waits is told again when a
        watch has to start over: after its connection broke at the start, or when the coordinator's store was replaced.
        """
        async with aclosing(self._waiting(prefix)) as gates:
            async for gate in gates:
                try:
                    answer = callback(gate)
                    if inspect.isawaitable(answer):
                        await answer
                except Exception:
                    log.exception("the callback for gate %s failed", gate.name)

    async def auto_approver(
        self, rules: Mapping[str, Callable[[], Awaitable[object] | object]], prefix: str = ""
    ) -> None:
        """Approves each gate that waits, or begins to, and whose rule says so, until it is cancelled.

        `rules` are by the gates' full names, and asked one after another. A rule is asked once for each round that
        waits, not again and again: where it says no, or raises, the gate goes on waiting for a person. Only the round
        that was waiting is approved; one that has to wait first (`min_wait`) is left to the coordinator's own rules.
        """

        async def decide(gate: v1.Gate) -> None:
            if (rule := rules.get(gate.name)) is None:
                return
            answer = rule()
            if inspect.isawaitable(answer):
                answer = await answer
            pauses, request_id = Pauses(), _new_id()
            while answer:
                try:
                    await self.approve(gate.name, round=gate.round, comment="approved by a rule", request_id=request_id)
                except UnavailableError as error:
                    await pause(no_sooner(error, pauses.next()), f"the rule of gate {gate.name}", error)
                except (AlreadyResolvedError, GateChangedError, GateNotFoundError, TooEarlyError) as error:
                    log.info("the rule of gate %s did not count: %s", gate.name, error)
                    return
                else:
                    return

        await self.notify(decide, prefix)

    async def close(self) -> None:
        """Closes the connections. Calls, waits and watches that are under way end with `ClosedError`."""
        await self._calls.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _waiting(self, prefix: str) -> AsyncGenerator[v1.Gate, None]:
        """Tells each gate that waits, and each that begins to."""
        begins = (v1.EventType.EVENT_TYPE_EXISTING, v1.EventType.EVENT_TYPE_WAITING)
        while True:
            try:
                async with self.watch(prefix, statuses=[GateStatus.WAITING], initial_state=True) as watch:
                    async for event in watch:
                        if event.type in begins:
                            yield event.gate
            except (RevisionError, StoreReplacedError) as error:
                log.warning("watching %s starts over: %s", prefix or "all gates", error)


def _new_id() -> str:
    return str(uuid.uuid4())
