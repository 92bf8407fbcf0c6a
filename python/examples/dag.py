"""A small runner of task graphs on a thread pool, for the examples: the part of the guide's executor that they use."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class NodeStatus(Enum):
    """How a node ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass
class NodeResult:
    """What became of a node."""

    name: str
    status: NodeStatus
    result: Any = None
    error: BaseException | None = None


@dataclass
class ExecutionResult:
    """What became of all nodes."""

    node_results: dict[str, NodeResult] = field(default_factory=dict)

    def _count(self, status: NodeStatus) -> int:
        return sum(node.status is status for node in self.node_results.values())

    @property
    def succeeded(self) -> int:
        """How many completed."""
        return self._count(NodeStatus.COMPLETED)

    @property
    def failed(self) -> int:
        """How many raised."""
        return self._count(NodeStatus.FAILED)

    @property
    def skipped(self) -> int:
        """How many were not run, because something that they need failed."""
        return self._count(NodeStatus.SKIPPED)


class DAG:
    """Nodes, each with those that it needs."""

    def __init__(self) -> None:
        self.needs: dict[str, set[str]] = {}

    @staticmethod
    def builder() -> DAG:
        """Begins a graph."""
        return DAG()

    def add_node(self, name: str) -> DAG:
        """Adds a node."""
        self.needs[name] = set()
        return self

    def add_edge(self, before: str, after: str) -> DAG:
        """Says that a node needs another."""
        self.needs[after].add(before)
        return self

    def build(self) -> DAG:
        """Ends it."""
        return self


class DAGExecutor:
    """Runs each node once those that it needs have ended. What needs one that failed is skipped (`fail_fast`)."""

    def __init__(self, dag: DAG, max_workers: int | None = None, fail_fast: bool = True) -> None:
        self._dag = dag
        self._max_workers = max_workers
        self._fail_fast = fail_fast

    def execute(self, tasks: Mapping[str, Callable[[], Any]]) -> ExecutionResult:
        """Runs all tasks, and says what became of them."""
        done: dict[str, NodeResult] = {}
        running: dict[Future[Any], str] = {}
        with ThreadPoolExecutor(self._max_workers) as pool:
            while len(done) < len(self._dag.needs):
                for name, needs in self._dag.needs.items():
                    if name in done or name in running.values() or not needs <= done.keys():
                        continue
                    if self._fail_fast and any(done[need].status is not NodeStatus.COMPLETED for need in needs):
                        done[name] = NodeResult(name, NodeStatus.SKIPPED)
                    else:
                        running[pool.submit(tasks[name])] = name
                for ended in wait(running, return_when=FIRST_COMPLETED).done:
                    name, error = running.pop(ended), ended.exception()
                    status = NodeStatus.FAILED if error else NodeStatus.COMPLETED
                    done[name] = NodeResult(name, status, None if error else ended.result(), error)
        return ExecutionResult(done)
