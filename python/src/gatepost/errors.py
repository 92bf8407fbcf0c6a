"""What can go wrong.

A gate that is rejected or times out raises `GateRejectedError` or `GateTimeoutError`, as in the guide. All else that
comes from the coordinator, or from not reaching it, is a `GatepostError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2

from gatepost import v1

if TYPE_CHECKING:
    from collections.abc import Mapping

Detail = TypeVar("Detail", error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo)

DOMAIN = "gatepost"
"""The domain of the coordinator's reasons."""


class GateRejectedError(Exception):
    """Somebody rejected the gate, or deleted it before it was decided."""

    def __init__(self, gate_name: str, reason: str = "") -> None:
        self.gate_name = gate_name
        self.reason = reason
        super().__init__(f"Gate '{gate_name}' was rejected" + (f": {reason}" if reason else ""))

    def __reduce__(self) -> tuple[type[GateRejectedError], tuple[str, str]]:
        return type(self), (self.gate_name, self.reason)


class GateTimeoutError(Exception):
    """Nobody decided before the gate's deadline. `timeout` is what the gate was given, in seconds."""

    def __init__(self, gate_name: str, timeout: float) -> None:
        self.gate_name = gate_name
        self.timeout = timeout
        super().__init__(f"Gate '{gate_name}' timed out after {timeout}s")

    def __reduce__(self) -> tuple[type[GateTimeoutError], tuple[str, float]]:
        return type(self), (self.gate_name, self.timeout)


class GatepostError(Exception):
    """Why a call has no answer."""


class AddressError(GatepostError, ValueError):
    """The address is not one of a coordinator."""


class ClosedError(GatepostError):
    """The client was closed."""


class GateDeletedError(GatepostError):
    """The gate was deleted while the connection was down, so that nobody can say how its round ended."""


class StoreReplacedError(GatepostError):
    """Another store answered after a reconnect: its revisions do not continue those seen. Watch again from now."""


class UnavailableError(GatepostError):
    """No coordinator answered, or it said that it cannot serve now: the same call may succeed later.

    `reason` is `DRAINING`, `STORE_UNAVAILABLE` or `RATE_LIMITED` where the coordinator said so, else empty.
    `retry_after` is how many seconds it asked to wait first, 0 where it asked for none.
    """

    def __init__(self, message: str, reason: str = "", retry_after: float = 0.0) -> None:
        self.message = message
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(message)

    def __reduce__(self) -> tuple[type[UnavailableError], tuple[str, str, float]]:
        return type(self), (self.message, self.reason, self.retry_after)


class RefusedError(GatepostError):
    """The coordinator answered that it will not do what was asked, and the same call will be refused again.

    `code` is the status of gRPC, `reason` says which refusal it is (`GATE_NOT_FOUND`; empty if not the coordinator
    itself refused), and `metadata` has the values that the message mentions. The message is for people and may change.
    """

    def __init__(
        self, message: str, code: grpc.StatusCode, reason: str = "", metadata: Mapping[str, str] | None = None
    ) -> None:
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        super().__init__(message)

    def __reduce__(self) -> tuple[type[RefusedError], tuple[str, grpc.StatusCode, str, dict[str, str]]]:
        return type(self), (self.message, self.code, self.reason, self.metadata)


class InvalidRequestError(RefusedError, ValueError):
    """A name, a spec or another value that no gate can have; `metadata["field"]` says which, where one is known."""


class GateNotFoundError(RefusedError):
    """There is no such gate, or it had no such round."""


class SpecConflictError(RefusedError):
    """The gate exists with another spec; `metadata["fields"]` says where they differ."""


class AlreadyResolvedError(RefusedError):
    """Somebody or the deadline was first; `metadata` says who, when and how."""


class UnauthenticatedError(RefusedError):
    """The coordinator does not know who calls: show it a token that it knows (`token=`, GATEPOST_TOKEN)."""


class NotAllowedError(RefusedError):
    """The caller is known, and not to do that: no grant allows it, or the gate leaves its decision to others.

    `reason` says which: `PERMISSION_DENIED` (`metadata` has the `permission` that is missing), `NOT_AN_APPROVER` (it
    has the `approvers`), or `OWN_GATE` of who asked for the gate.
    """


class TooEarlyError(RefusedError):
    """The gate has to wait before an approval counts: until `metadata["not_before"]`, empty while nobody waits."""


class RoundResetError(RefusedError):
    """The round that was waited on was reset before anyone decided it; `metadata["next_round"]` is the next."""


class GateChangedError(RefusedError):
    """The gate is not, or is no longer, what the caller looked at: another etag, round or subject."""


class RevisionError(RefusedError):
    """A watch asked for events that are forgotten, or that are ahead of the store. Start over with `initial_state`."""


class LimitError(RefusedError):
    """More than a call may have, more than the store has room for, or a watch that was not read."""


class StoreCorruptError(RefusedError):
    """The coordinator cannot read what it has stored of this gate."""


REASONS: dict[str, type[RefusedError | UnavailableError]] = {
    "INVALID_NAME": InvalidRequestError,
    "INVALID_SPEC": InvalidRequestError,
    "INVALID_ARGUMENT": InvalidRequestError,
    "INVALID_MESSAGE": InvalidRequestError,
    "REQUEST_ID_REUSED": InvalidRequestError,
    "GATE_NOT_FOUND": GateNotFoundError,
    "ROUND_NOT_FOUND": GateNotFoundError,
    # Of calls that this SDK does not make.
    "WEBHOOK_NOT_FOUND": RefusedError,
    "DEAD_LETTER_NOT_FOUND": RefusedError,
    "GATE_EXISTS": SpecConflictError,
    "GATE_ALREADY_RESOLVED": AlreadyResolvedError,
    "SPEC_CONFLICT": SpecConflictError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "PERMISSION_DENIED": NotAllowedError,
    "NOT_AN_APPROVER": NotAllowedError,
    "OWN_GATE": NotAllowedError,
    "TOO_EARLY": TooEarlyError,
    "ROUND_RESET": RoundResetError,
    "ETAG_MISMATCH": GateChangedError,
    "ROUND_MISMATCH": GateChangedError,
    "SUBJECT_CHANGED": GateChangedError,
    "REVISION_COMPACTED": RevisionError,
    "REVISION_AHEAD": RevisionError,
    "LIMIT_EXCEEDED": LimitError,
    "STORE_FULL": LimitError,
    "WATCHER_TOO_SLOW": LimitError,
    "DRAINING": UnavailableError,
    "STORE_UNAVAILABLE": UnavailableError,
    # Of calls that this SDK does not make.
    "WEBHOOKS_ELSEWHERE": UnavailableError,
    "RATE_LIMITED": UnavailableError,
    "STORE_CORRUPT": StoreCorruptError,
    # A fault of the coordinator, which no caller can bring about.
    "INTERNAL": RefusedError,
}
"""The error of each of the coordinator's reasons."""

# What something between here and the coordinator says is final only where the caller is wrong; OUT_OF_RANGE is a
# message that is too large for the transport. Everything else it says, trying again may mend.
_FINAL_CODES = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)

_NOT_CONNECTED = "failed to connect to all addresses"
"""How gRPC begins to say that it has no connection, and so has not sent the call."""


def from_rpc_error(error: grpc.aio.AioRpcError, address: str) -> RefusedError | UnavailableError:
    """Says what a status of gRPC means."""
    code, details = error.code(), error.details() or error.code().name
    info = _detail(error, error_details_pb2.ErrorInfo)
    if info is not None and info.domain == DOMAIN:
        kind = REASONS.get(info.reason, RefusedError)
        if code is grpc.StatusCode.UNAVAILABLE or not issubclass(kind, RefusedError):
            retry = _detail(error, error_details_pb2.RetryInfo) or error_details_pb2.RetryInfo()
            return UnavailableError(details, info.reason, retry.retry_delay.ToTimedelta().total_seconds())
        return kind(details, code, info.reason, info.metadata)
    if code in _FINAL_CODES:
        return RefusedError(details, code)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        details = "no answer in time"
    if details.startswith(_NOT_CONNECTED):
        # "connection refused", without the addresses and the layers that lead there.
        details = details.rsplit(": ", 1)[-1].lower()
    return UnavailableError(f"cannot reach {address} ({details})")


def is_unsent(error: grpc.aio.AioRpcError) -> bool:
    """Says whether the call was never sent: there was no connection to send it on."""
    return (error.details() or "").startswith(_NOT_CONNECTED)


def unavailable(errors: list[UnavailableError]) -> UnavailableError:
    """Makes one error of those of all endpoints: what a coordinator said goes before what none did."""
    said = [error for error in errors if error.reason]
    return said[0] if said else UnavailableError("; ".join(str(error) for error in errors))


def deleted(gate: str) -> GateDeletedError:
    """Says that a gate was deleted while nobody looked."""
    return GateDeletedError(f"gate {gate} was deleted while the connection was down")


def replaced(address: str) -> StoreReplacedError:
    """Says that there is another store than before."""
    return StoreReplacedError(
        f"the coordinator at {address} has another store than before: revisions start anew, watch again from now"
    )


def rejected(name: str, gate: v1.Gate) -> GateRejectedError:
    """Says why a gate's round was rejected."""
    is_deleted = gate.resolution.cause == v1.Cause.CAUSE_CANCELLED
    return GateRejectedError(name, gate.resolution.reason or ("the gate was deleted" if is_deleted else ""))


def _detail(error: grpc.aio.AioRpcError, kind: type[Detail]) -> Detail | None:
    """Returns the detail of this kind that a status has, if it has one."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                found = kind()
                if detail.Unpack(found):
                    return found
    return None
