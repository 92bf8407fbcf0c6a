"""The guide's deployment: six steps, two of them gates, on a thread pool.

`gatepost serve` in one terminal, this in another, and in a third, or on another host, what it prints. When a gate is
rejected, or nobody decides in time, the steps behind it are skipped.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING

from dag import DAG, DAGExecutor, ExecutionResult
from gatepost import ApprovalGate, GateController

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = ["build", "test", "review_gate", "deploy_staging", "deploy_gate", "deploy_prod"]

GATES = {
    "review_gate": ApprovalGate(timeout=600, title="Is the build fit for staging?"),
    "deploy_gate": ApprovalGate(timeout=300, title="Is staging fit for production?"),
}

controller = GateController(GATES)


def step(name: str) -> Callable[[], str]:
    """Makes the task of a step: a gate waits, everything else only says that it runs."""

    def task() -> str:
        if name in GATES:
            print(f"{name}: gatepost approve {controller.scope}/{name}")
            controller.wait_sync(name)
            return "approved"
        print(f"{name} runs")
        return "done"

    return task


def deploy() -> ExecutionResult:
    """Runs the steps, one after the other."""
    dag = DAG.builder()
    for name in STEPS:
        dag.add_node(name)
    for before, after in pairwise(STEPS):
        dag.add_edge(before, after)
    return DAGExecutor(dag.build(), fail_fast=True).execute({name: step(name) for name in STEPS})


if __name__ == "__main__":
    result = deploy()
    for node in result.node_results.values():
        print(f"{node.name}: {node.status.value}" + (f" ({node.error})" if node.error else ""))
    sys.exit(1 if result.failed else 0)
