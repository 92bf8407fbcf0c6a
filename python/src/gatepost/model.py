"""The words of the API: a gate's status, what it asks for, and how a wait ended."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from google.protobuf import duration_pb2, struct_pb2

from gatepost import v1

if TYPE_CHECKING:
    from collections.abc import Iterable


WHOLE_NUMBER_MAX = 2**53
"""Numbers are doubles, in which not every larger whole number has a place."""


class GateStatus(Enum):
    """Where a gate's current round stands. The last three are terminal: a round never leaves them."""

    PENDING = "pending"
    """The gate exists and nobody has waited on this round yet."""
    WAITING = "waiting"
    """A worker has reached the gate."""
    APPROVED = "approved"
    """Enough people approved, or the gate was made with `auto_approve`."""
    REJECTED = "rejected"
    """Somebody rejected the gate, or it was deleted before it was decided."""
    TIMED_OUT = "timed_out"
    """The deadline passed before a decision was made."""

    @classmethod
    def of(cls, gate: v1.Gate) -> GateStatus:
        """Reads the status of a message."""
        return cls[v1.GateStatus.Name(gate.status).removeprefix("GATE_STATUS_")]

    def to_proto(self) -> v1.GateStatus:
        """Returns the status as messages have it."""
        return cast("v1.GateStatus", v1.GateStatus.Value(f"GATE_STATUS_{self.name}"))

    @property
    def is_terminal(self) -> bool:
        """Whether the round is decided."""
        return self not in (GateStatus.PENDING, GateStatus.WAITING)


class OnTimeout(Enum):
    """What becomes of a round that nobody decides before its deadline."""

    TIME_OUT = "time_out"
    """It ends `TIMED_OUT`."""
    APPROVE = "approve"
    """It ends `APPROVED`."""
    REJECT = "reject"
    """It ends `REJECTED`."""

    @classmethod
    def of(cls, spec: v1.Spec) -> OnTimeout:
        """Reads it from a message."""
        return cls[v1.OnTimeout.Name(spec.on_timeout).removeprefix("ON_TIMEOUT_")]

    def to_proto(self) -> v1.OnTimeout:
        """Returns it as messages have it."""
        return cast("v1.OnTimeout", v1.OnTimeout.Value(f"ON_TIMEOUT_{self.name}"))


@dataclass(frozen=True)
class Decision:
    """How a round ended."""

    status: GateStatus
    """`APPROVED`, `REJECTED` or `TIMED_OUT`."""
    by: str
    """Who decided, as verified by the coordinator; empty where nobody did."""
    reason: str
    """The comment of the approval or the reason of the rejection."""
    inputs: dict[str, Any]
    """What the approver hands to the workers."""
    gate: v1.Gate
    """The gate as its round ended. Its `round` and `revision` are a fencing token for what follows."""

    @property
    def approved(self) -> bool:
        """Whether to go on."""
        return self.status is GateStatus.APPROVED

    @classmethod
    def of(cls, gate: v1.Gate) -> Decision | None:
        """Reads how a gate's round ended, if it has."""
        status = GateStatus.of(gate)
        if not status.is_terminal:
            return None
        resolution = gate.resolution
        return cls(status, resolution.by, resolution.reason, _plain(resolution.inputs), gate)


@dataclass(frozen=True)
class Listing:
    """What a list found."""

    gates: list[v1.Gate]
    """In the order of their names."""
    revision: int
    """Every change up to and including it is in the list: a watch that starts with the next revision misses none."""


def spec(
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
) -> v1.Spec:
    """Says what a gate asks for.

    Args:
        timeout: Seconds from the first wait of a round until it times out; from 0.001 to 366 days. None: for ever.
        auto_approve: Makes the gate approved, for test runs. A reset makes it ask as any other.
        title: One line for the people who decide.
        description: What is being asked, at length.
        labels: For programs to find and group gates.
        links: Where to look before deciding.
        required_approvals: How many people have to approve; 0 means 1.
        subject: The thing that is approved.
        approvers: Who may decide, as "alice" or "group:release-managers". Empty: whoever may decide gates at all.
        forbid_requester: Whether who asks for the gate is kept from approving it. None: where identities are verified.
        min_wait: Seconds from the first wait of a round before an approval counts. None: any does.
        on_timeout: What becomes of a round that nobody decides in time.

    Raises:
        ValueError: A time is no finite number. All other bounds are the coordinator's, which refuses with
            `InvalidRequestError`.

    """
    made = v1.Spec(
        timeout=None if timeout is None else _duration(timeout),
        auto_approve=auto_approve,
        title=title,
        description=description,
        labels=labels,
        links=links,
        required_approvals=required_approvals,
        subject=subject,
        approvers=approvers,
        min_wait=None if min_wait is None else _duration(min_wait),
        on_timeout=on_timeout.to_proto(),
    )
    if forbid_requester is not None:
        made.forbid_requester = forbid_requester
    return made


def this_process() -> v1.Waiter:
    """Says who waits, for people: this process on this host."""
    return v1.Waiter(id=f"{socket.gethostname()}:{os.getpid()}", host=socket.gethostname())


def timeout_of(spec: v1.Spec) -> float | None:
    """Returns the timeout of a spec in seconds."""
    return _seconds(spec.timeout) if spec.HasField("timeout") else None


def min_wait_of(spec: v1.Spec) -> float | None:
    """Returns how long a spec has rounds wait before an approval counts, in seconds."""
    return _seconds(spec.min_wait) if spec.HasField("min_wait") else None


def _seconds(duration: duration_pb2.Duration) -> float:
    seconds: float = duration.seconds + duration.nanos / 1e9
    return int(seconds) if seconds.is_integer() else seconds


def _duration(seconds: float) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    try:
        duration.FromNanoseconds(round(seconds * 1e9))
    except (OverflowError, ValueError) as error:
        raise ValueError(f"a time of {seconds} seconds: give a finite number, or None for no limit") from error
    return duration


def struct_of(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """Returns plain values as messages have them.

    Raises:
        ValueError: They are not JSON, or one of them is a whole number that a double cannot hold.

    """

    def check(value: Any) -> None:
        if isinstance(value, int) and abs(value) > WHOLE_NUMBER_MAX:
            raise ValueError(f"{value} is beyond 2^53, and would arrive as another number: give a string")
        if isinstance(value, Mapping):
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            for item in value:
                check(item)

    check(values)
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct


def _plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Returns the values of a struct as a JSON parser would, whole numbers as ints."""

    def plain(value: struct_pb2.Value) -> Any:
        match value.WhichOneof("kind"):
            case "struct_value":
                return _plain(value.struct_value)
            case "list_value":
                return [plain(item) for item in value.list_value.values]
            case "number_value":
                number = value.number_value
                return int(number) if number.is_integer() else number
            case "string_value":
                return value.string_value
            case "bool_value":
                return value.bool_value
            case _:
                return None

    return {key: plain(value) for key, value in struct.fields.items()}
