"""Approval gates across hosts: the Python SDK of the gatepost coordinator.

`ApprovalGate` and `GateController` are the gates of an in-process DAG library, shared between hosts without changing
the code that uses them. `Client` and `AsyncClient` have every call about gates. All durations are in seconds.
"""

from gatepost._watch import AsyncWatch
from gatepost.aio import AsyncClient
from gatepost.client import Client, Follower, Watch
from gatepost.controller import GateController
from gatepost.errors import (
    AddressError,
    AlreadyResolvedError,
    ClosedError,
    GateChangedError,
    GateDeletedError,
    GateNotFoundError,
    GatepostError,
    GateRejectedError,
    GateTimeoutError,
    InvalidRequestError,
    LimitError,
    NotAllowedError,
    RefusedError,
    RevisionError,
    RoundResetError,
    SpecConflictError,
    StoreCorruptError,
    StoreReplacedError,
    TooEarlyError,
    UnauthenticatedError,
    UnavailableError,
)
from gatepost.gate import ApprovalGate
from gatepost.model import Decision, GateStatus, Listing, OnTimeout, spec

__all__ = [
    "AddressError",
    "AlreadyResolvedError",
    "ApprovalGate",
    "AsyncClient",
    "AsyncWatch",
    "Client",
    "ClosedError",
    "Decision",
    "Follower",
    "GateChangedError",
    "GateController",
    "GateDeletedError",
    "GateNotFoundError",
    "GateRejectedError",
    "GateStatus",
    "GateTimeoutError",
    "GatepostError",
    "InvalidRequestError",
    "LimitError",
    "Listing",
    "NotAllowedError",
    "OnTimeout",
    "RefusedError",
    "RevisionError",
    "RoundResetError",
    "SpecConflictError",
    "StoreCorruptError",
    "StoreReplacedError",
    "TooEarlyError",
    "UnauthenticatedError",
    "UnavailableError",
    "Watch",
    "spec",
]
