"""One approval gate."""

from __future__ import annotations

import contextlib
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from gatepost import model, v1
from gatepost._endpoint import Endpoints
from gatepost._shared import Shared, shared
from gatepost.errors import AlreadyResolvedError, GateTimeoutError, NotAllowedError, TooEarlyError, rejected
from gatepost.model import Decision, GateStatus, OnTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gatepost.client import Client


@dataclass(frozen=True)
class Place:
    """Where a gate is."""

    shared: Shared
    gate: str
    """Its name on the coordinator."""
    name: str
    """Its name in errors: the one that its controller knows."""


class ApprovalGate:
    """One decision point, which blocks those who wait on it until somebody approves or rejects it.

    In a `GateController` it has the name that it has there, and everybody with that scope shares it. Used without one,
    it is on the default coordinator (GATEPOST_SERVER) under a name of its own.

    Args:
        timeout: Seconds that a round waits for a decision, from the first wait of anybody; from 0.001 to 366 days.
            None: for ever.
        auto_approve: Makes it approved, for tests. A reset makes it ask as any other.
        title: One line for the people who decide.
        description: What is being asked, at length.
        labels: For programs to find and group gates.
        links: Where to look before deciding.
        required_approvals: How many people have to approve; 0 means 1.
        subject: The thing that is approved.
        approvers: Who may decide it, as "alice" or "group:release-managers". Empty: whoever may decide gates at all.
        forbid_requester: Whether who asks for it is kept from approving it. None: where identities are verified.
        min_wait: Seconds that a round waits before an approval counts.
        on_timeout: What becomes of a round that nobody decides in time.

    What a gate asks for is fixed once it is made: all who declare it have to say the same.

    Raises:
        InvalidRequestError: At its first use: the coordinator does not take its name, or what it asks for.
        SpecConflictError: At its first use: it was made before, and asks for something else.

    """

    def __init__(
        self,
        timeout: float | None = None,
        auto_approve: bool = False,
        *,
        title: str = "",
        description: str = "",
        labels: Mapping[str, str] | None = None,
        links: Iterable[v1.Link] = (),
        required_approvals: int = 0,
        subject: v1.Subject | None = None,
        approvers: Iterable[str] = (),
        forbid_requester: bool | None = None,
        min_wait: float | None = None,
        on_timeout: OnTimeout = OnTimeout.TIME_OUT,
    ) -> None:
        self.timeout = timeout
        """Seconds, as given."""
        self._spec = model.spec(
            timeout,
            auto_approve,
            title=title,
            description=description,
            labels=labels,
            links=links,
            required_approvals=required_approvals,
            subject=subject,
            approvers=approvers,
            forbid_requester=forbid_requester,
            min_wait=min_wait,
            on_timeout=on_timeout,
        )
        self._lock = threading.Lock()
        self._place: Place | None = None
        self._is_made = False

    @property
    def status(self) -> GateStatus:
        """Where the gate's current round stands now."""
        return GateStatus.of(self._read())

    @property
    def reason(self) -> str:
        """Why it was rejected, or the comment of the approval; empty while it is undecided."""
        return self._read().resolution.reason

    @property
    def inputs(self) -> dict[str, Any]:
        """What the approver hands to the workers; empty while it is undecided."""
        decision = Decision.of(self._read())
        return decision.inputs if decision else {}

    def approve(self, *, comment: str = "", inputs: Mapping[str, Any] | None = None) -> None:
        """Approves the gate, and so releases whoever waits or will wait. A decided gate stays as it is.

        Args:
            comment: Why, for people.
            inputs: Handed to the workers.

        """
        self._decide(lambda client, gate: client.approve(gate, comment=comment, inputs=inputs))

    def reject(self, reason: str = "") -> None:
        """Rejects the gate: who waits or will wait gets `GateRejectedError`. A decided gate stays as it is."""
        self._decide(lambda client, gate: client.reject(gate, reason=reason))

    def wait_sync(self) -> None:
        """Blocks the thread until the gate is approved, also through restarts of the coordinator.

        Ctrl-C ends it in the main thread.

        Raises:
            GateRejectedError: It was rejected, or deleted before it was decided.
            GateTimeoutError: Nobody decided in time. A gate that has timed out stays so until it is reset.
            GateDeletedError: It was deleted while the connection was down.
            GateNotFoundError: It was deleted before this wait: a gate is made once.

        """
        place = self._placed()
        decision = place.shared.client.wait(place.gate, spec=self._unmade_spec(), _on_seen=self._on_made)
        self._settle(decision)

    async def wait_async(self) -> None:
        """Waits on the running event loop: otherwise as `wait_sync`. Cancelling it ends it on the coordinator too."""
        place = self._placed()
        async with place.shared.on_this_loop() as client:
            decision = await client.wait(place.gate, spec=self._unmade_spec(), _on_seen=self._on_made)
        self._settle(decision)

    def reset(self) -> None:
        """Makes it PENDING, for another round. Whoever waits on an undecided round waits on."""
        self._make()
        place = self._placed()
        place.shared.client.reset_gate(place.gate)

    def to_dict(self) -> dict[str, Any]:
        """Returns the gate's state now, as plain data: see `GateController.to_dict`."""
        return state_of(self._read())

    def _put(self, place: Place) -> None:
        """Gives the gate its place, which it keeps."""
        with self._lock:
            if self._place not in (None, place):
                raise ValueError(f"this gate is {self._place.gate} already: make one for each name")
            self._place = place

    def _placed(self) -> Place:
        with self._lock:
            if self._place is None:
                name = f"gate-{unique()}"
                self._place = Place(shared(Endpoints.of()), name, name)
            return self._place

    def _make(self) -> v1.Gate | None:
        """Makes the gate on the coordinator, unless that was done, and returns it if so."""
        if self._is_made:
            return None
        place = self._placed()
        gate = place.shared.client.create_gate(place.gate, self._spec)
        self._on_made()
        return gate

    def _on_made(self) -> None:
        """Notes that the gate is on the coordinator; a wait tells so at once, however it ends."""
        self._is_made = True

    def _unmade_spec(self) -> v1.Spec | None:
        """What a wait makes the gate from; nothing once it was made: a gate that is deleted then stays deleted."""
        return None if self._is_made else self._spec

    def _read(self) -> v1.Gate:
        place = self._placed()
        return self._make() or place.shared.client.get_gate(place.gate)

    def _decide(self, vote: Callable[[Client, str], v1.Gate]) -> None:
        self._make()
        place = self._placed()
        try:
            vote(place.shared.client, place.gate)
        except AlreadyResolvedError:
            # The first decision wins, and who comes later may not know of it.
            return

    def _settle(self, decision: Decision) -> None:
        name = self._placed().name
        if decision.status is GateStatus.REJECTED:
            raise rejected(name, decision.gate)
        if decision.status is GateStatus.TIMED_OUT:
            raise GateTimeoutError(name, self.timeout or model.timeout_of(decision.gate.spec) or 0.0)

    def _restore(self, status: GateStatus, reason: str) -> None:
        """Brings the gate to a state that it had: see `GateController.restore_from_dict`."""
        gate = self._read()
        decision = Decision.of(gate)
        # A person's decision stands, whenever it was made.
        if decision and gate.resolution.cause not in (v1.Cause.CAUSE_TIMEOUT, v1.Cause.CAUSE_AUTO_APPROVE):
            return
        wanted = status if status in (GateStatus.APPROVED, GateStatus.REJECTED) else GateStatus.PENDING
        if decision and decision.status is not wanted:
            self.reset()
        # Who may not decide it, or not yet, speaks for nobody: the gate asks again.
        with contextlib.suppress(NotAllowedError, TooEarlyError):
            # One approval would speak for one of them only, and for the wrong one.
            if wanted is GateStatus.APPROVED and gate.spec.required_approvals <= 1:
                self.approve(comment=reason)
            elif wanted is GateStatus.REJECTED:
                self.reject(reason)


def state_of(gate: v1.Gate) -> dict[str, Any]:
    """Returns the state of a gate as plain data."""
    return {
        "status": GateStatus.of(gate).value,
        "reason": gate.resolution.reason,
        "timeout": model.timeout_of(gate.spec),
        "auto_approve": gate.spec.auto_approve,
        "required_approvals": gate.spec.required_approvals,
        "approvers": list(gate.spec.approvers),
        "forbid_requester": gate.spec.forbid_requester if gate.spec.HasField("forbid_requester") else None,
        "min_wait": model.min_wait_of(gate.spec),
        "on_timeout": OnTimeout.of(gate.spec).value,
    }


def unique() -> str:
    """A name that no other has, and that says when it was made."""
    return f"{datetime.now(timezone.utc):%Y%m%dt%H%M%S}-{secrets.token_hex(8)}"
