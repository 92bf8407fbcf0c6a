"""Gates for any executor that calls functions: a task whose name has a gate waits at it first.

Here the executor is `concurrent.futures`; a task queue, or the body of an operator, calls the same functions.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from gatepost import ApprovalGate, GateController, GateRejectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

T = TypeVar("T")


def gated(
    controller: GateController, gates: Collection[str], tasks: Mapping[str, Callable[[], T]]
) -> dict[str, Callable[[], T]]:
    """Puts gates of a controller before the tasks of the same names."""

    def wait_and_run(name: str, task: Callable[[], T]) -> T:
        controller.wait_sync(name)
        return task()

    return {name: partial(wait_and_run, name, task) if name in gates else task for name, task in tasks.items()}


def main() -> int:
    """Runs three tasks, of which one needs an approval."""
    gates = {"publish": ApprovalGate(timeout=600)}
    controller = GateController(gates)
    print(f"publish waits: gatepost approve {controller.scope}/publish")
    tasks = {"lint": lambda: "clean", "test": lambda: "green", "publish": lambda: "published"}
    with ThreadPoolExecutor() as executor:
        running = {name: executor.submit(task) for name, task in gated(controller, gates, tasks).items()}
    for name, task in running.items():
        error = task.exception()
        print(f"{name}: {error or task.result()}")
        if isinstance(error, GateRejectedError):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
