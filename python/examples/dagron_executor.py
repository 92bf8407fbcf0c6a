"""The guide's library runs our gates on its own executor, unchanged. It needs Python 3.12: `pip install dagron`."""

from __future__ import annotations

import sys
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import dagron

from gatepost import ApprovalGate, GateController

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Runs a deployment behind a gate."""
    controller = GateController({"deploy_gate": ApprovalGate(timeout=300)})
    steps = ["build", "deploy_gate", "deploy_prod"]
    builder = dagron.DAG.builder()
    for name in steps:
        builder = builder.add_node(name)
    for before, after in pairwise(steps):
        builder = builder.add_edge(before, after)

    tasks: dict[str, Callable[[], None]] = {name: partial(print, f"{name} runs") for name in steps}
    tasks["deploy_gate"] = partial(controller.wait_sync, "deploy_gate")
    print(f"deploy_gate waits: gatepost approve {controller.scope}/deploy_gate")
    result = dagron.DAGExecutor(builder.build()).execute(tasks)
    print(f"{result.succeeded} succeeded, {result.failed} failed, {result.skipped} skipped")
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
