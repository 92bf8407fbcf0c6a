"""Approval gates with the API of an in-process library, kept by a coordinator and so shared between hosts.

    controller = GateController({"deploy": ApprovalGate(timeout=300)}, scope="release-42")
    controller.wait_sync("deploy")  # on one host
    controller.approve("deploy")    # on another

A gate is made on the coordinator when it is first used, and not before: to construct gates and controllers needs no
coordinator. Everything else asks it, and raises `UnavailableError` when it cannot be reached for about two seconds;
only waits go on for as long as it takes. A gate that somebody deletes is not made again: `GateNotFoundError`.

All is safe to use from any number of threads. On an event loop `wait_async` is the one that does not block it; the
others do for a round trip, and `AsyncClient` has the same calls without.
"""

from gatepost.controller import GateController
from gatepost.errors import GateRejectedError, GateTimeoutError
from gatepost.gate import ApprovalGate
from gatepost.model import GateStatus

__all__ = ["ApprovalGate", "GateController", "GateRejectedError", "GateStatus", "GateTimeoutError"]
