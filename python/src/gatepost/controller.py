"""Approval gates by name."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from gatepost import model, v1
from gatepost._endpoint import Endpoints, Tls, Token
from gatepost._shared import shared
from gatepost.client import refuse_async
from gatepost.errors import GateNotFoundError, InvalidRequestError
from gatepost.gate import ApprovalGate, Place, state_of, unique
from gatepost.model import GateStatus, OnTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gatepost.client import Client, Follower


class GateController:
    """The gates of a scope, by name: everybody with the same scope shares them, on whatever host.

    Gate "qa" of the scope "release-42" is `release-42/qa` on the coordinator. Names that were not declared here are
    looked up there, so that who only approves needs no more than the scope.

    Args:
        gates: The gates that this program waits on, by name: one or more segments of A-Z a-z 0-9 . _ - joined by "/".
        server: `http://host:port`, `https://host:port` or `host:port`, or several of these with commas between, which
            serve one store. Default: GATEPOST_SERVER, else `http://127.0.0.1:7070`.
        scope: Who shares the gates: a release, a run. Default: GATEPOST_SCOPE, else a fresh one that no other has, so
            that a second run never meets the decisions of the first.
        token: See `Client`. Default: GATEPOST_TOKEN_FILE or GATEPOST_TOKEN, else none.
        tls: See `Client`. Default: TLS if the server's address says `https`, as the environment says.

    Every method that takes the name of a gate that must exist raises `KeyError` if it was neither declared here nor is
    on the coordinator. A declared gate that was used and then deleted is a `GateNotFoundError`: it is made once.

    Raises:
        AddressError: The server is no address.
        ValueError: One of the gates has a place already.

    """

    def __init__(
        self,
        gates: Mapping[str, ApprovalGate] | None = None,
        *,
        server: str | None = None,
        scope: str | None = None,
        token: Token = None,
        tls: Tls = None,
    ) -> None:
        self._shared = shared(Endpoints.of(server, token, tls))
        self._scope = (scope or os.environ.get("GATEPOST_SCOPE") or f"run-{unique()}").rstrip("/")
        self._lock = threading.Lock()
        self._gates: dict[str, ApprovalGate] = {}
        for name, gate in (gates or {}).items():
            self.add_gate(name, gate)

    @property
    def scope(self) -> str:
        """Who shares the gates: give it to the others."""
        return self._scope

    @property
    def client(self) -> Client:
        """The client of the coordinator, for what a controller does not do. All its gates share it: leave it open."""
        return self._shared.client

    def add_gate(self, name: str, gate: ApprovalGate) -> None:
        """Declares a gate.

        Raises:
            ValueError: The gate has another place already.

        """
        gate._put(Place(self._shared, self._full(name), name))  # noqa: SLF001
        with self._lock:
            self._gates[name] = gate

    def has_gate(self, name: str) -> bool:
        """Says whether there is such a gate, here or on the coordinator."""
        return self.get_gate(name) is not None

    def get_gate(self, name: str) -> ApprovalGate | None:
        """Returns the gate, or None: the one that was declared here, or else one that is on the coordinator."""
        gate = self._gates.get(name)
        if gate is not None:
            return gate
        try:
            return self._undeclared(name, self.client.get_gate(self._full(name)).spec)
        except GateNotFoundError:
            return None
        except InvalidRequestError:
            # No gate can have that name.
            return None

    def approve(self, name: str, *, comment: str = "", inputs: Mapping[str, Any] | None = None) -> None:
        """Approves a gate: see `ApprovalGate.approve`."""
        self._gate(name).approve(comment=comment, inputs=inputs)

    def reject(self, name: str, reason: str = "") -> None:
        """Rejects a gate: see `ApprovalGate.reject`."""
        self._gate(name).reject(reason)

    def status(self, name: str) -> GateStatus:
        """Returns where a gate's current round stands now."""
        return self._gate(name).status

    def waiting_gates(self) -> list[str]:
        """Returns the names of the scope's gates that wait for a decision now, whoever waits on them."""
        names = self._listed([GateStatus.WAITING])
        declared = list(self._gates)
        # As declared, then as the coordinator orders them.
        return sorted(names, key=lambda name: declared.index(name) if name in declared else len(declared))

    def wait_sync(self, name: str) -> None:
        """Blocks the thread until a gate is approved: see `ApprovalGate.wait_sync`."""
        gate = self._gates.get(name)
        if gate is not None:
            gate.wait_sync()
            return
        try:
            self._undeclared(name).wait_sync()
        except (GateNotFoundError, InvalidRequestError):
            raise _unknown(name) from None

    async def wait_async(self, name: str) -> None:
        """Waits on the running event loop until a gate is approved: see `ApprovalGate.wait_async`."""
        gate = self._gates.get(name)
        if gate is not None:
            await gate.wait_async()
            return
        try:
            await self._undeclared(name).wait_async()
        except (GateNotFoundError, InvalidRequestError):
            raise _unknown(name) from None

    def reset_all(self) -> None:
        """Makes all gates of the scope PENDING, other hosts' too. Whoever waits on an undecided round waits on.

        The declared gates that nobody has used yet are made first, so that those with `auto_approve` are PENDING too.

        Raises:
            LimitError: They are more than 160; none was reset.

        """
        self._make_declared()
        self.client.reset_gates(self._scope)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Returns the state of all gates of the scope as plain data, as a checkpoint has it.

        By name: `status` (a value of `GateStatus`), `reason`, and what decides the gate, as `ApprovalGate` takes it:
        `timeout`, `auto_approve`, `required_approvals`, `approvers`, `forbid_requester`, `min_wait` and `on_timeout` (a
        value of `OnTimeout`).
        """
        self._make_declared()
        return {name: state_of(gate) for name, gate in self._listed().items()}

    def restore_from_dict(self, data: Mapping[str, Mapping[str, Any]]) -> None:
        """Brings gates to the state that `to_dict` has told of, and makes those that are missing.

        Approved and rejected gates are decided again where they are undecided, all others are PENDING or WAITING. A
        decision that the caller may not make now, or an approval by more than one, is not restored: nobody can speak
        for others, so the gate asks again.

        What a person has decided on the coordinator stands, even if the data are older than that. Only a decision that
        comes between the look at a gate that has timed out or was auto-approved and its reset is reset away.
        """
        for name, state in data.items():
            gate = self.get_gate(name)
            if gate is None:
                gate = ApprovalGate(
                    state.get("timeout"),
                    bool(state.get("auto_approve", False)),
                    required_approvals=int(state.get("required_approvals", 0)),
                    approvers=state.get("approvers", ()),
                    forbid_requester=state.get("forbid_requester"),
                    min_wait=state.get("min_wait"),
                    on_timeout=OnTimeout(state.get("on_timeout", OnTimeout.TIME_OUT)),
                )
                self.add_gate(name, gate)
            gate._restore(GateStatus(state["status"]), str(state.get("reason", "")))  # noqa: SLF001

    def notify(self, callback: Callable[[str], object]) -> Follower:
        """Calls back, in a thread of its own, with the name of each gate that waits and each that begins to.

        See `Client.notify`. It goes on until what is returned is closed, or the process ends.
        """
        refuse_async(callback)

        def tell(gate: v1.Gate) -> object:
            return callback(self._relative(gate.name)) if gate.name != self._scope else None

        return self.client.notify(tell, self._scope)

    def auto_approver(self, rules: Mapping[str, Callable[[], object]]) -> Follower:
        """Approves each gate that waits, or begins to, and whose rule says so. `rules` are by the names of gates.

        See `Client.auto_approver`. It goes on until what is returned is closed, or the process ends.
        """
        return self.client.auto_approver({self._full(name): rule for name, rule in rules.items()}, self._scope)

    def _gate(self, name: str) -> ApprovalGate:
        gate = self.get_gate(name)
        if gate is None:
            raise _unknown(name)
        return gate

    def _make_declared(self) -> None:
        """Makes the declared gates that nobody has used yet."""
        for gate in list(self._gates.values()):
            gate._make()

    def _undeclared(self, name: str, spec: v1.Spec | None = None) -> ApprovalGate:
        """Makes a handle of a gate that others make."""
        spec = spec or v1.Spec()
        gate = ApprovalGate(model.timeout_of(spec), spec.auto_approve)
        gate._put(Place(self._shared, self._full(name), name))  # noqa: SLF001
        gate._on_made()  # noqa: SLF001
        return gate

    def _listed(self, statuses: Iterable[GateStatus] = ()) -> dict[str, v1.Gate]:
        """Lists the scope's gates on the coordinator by name."""
        gates = self.client.list_gates(self._scope, statuses=statuses).gates
        return {self._relative(gate.name): gate for gate in gates if gate.name != self._scope}

    def _full(self, name: str) -> str:
        return f"{self._scope}/{name}"

    def _relative(self, full: str) -> str:
        return full.removeprefix(f"{self._scope}/")


def _unknown(name: str) -> KeyError:
    return KeyError(f"No gate named '{name}'")
