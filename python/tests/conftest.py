"""A real coordinator for each test that asks for one, and what tests do to it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gatepost import Client, GateStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds that anything may take before a test fails: far more than it needs on a busy machine."""


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's environment without what would change how gatepost behaves."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEPOST_")} | variables


class Coordinator:
    """A coordinator process with data of its own."""

    def __init__(self, program: Path, data: Path, listen: str = "127.0.0.1:0", config: Path | None = None) -> None:
        self._program = program
        self._config = ["--config", config] if config else []
        self.data = data
        self._start(listen)

    def _start(self, listen: str) -> None:
        command = [self._program, "serve", "--listen", listen, "--data-dir", self.data, *self._config]
        self._process = subprocess.Popen(
            command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert "http://" in said, f"it does not say where it listens: {said!r}"
        self.address = said.split("http://")[1].split(",")[0]

    def kill(self) -> None:
        """Ends it as a crash does."""
        self._process.kill()
        self._process.communicate()

    def restart(self, data: Path | None = None) -> None:
        """Starts it again where it was, after a kill."""
        self.data = data or self.data
        self._start(self.address)

    def stop(self) -> None:
        """Ends it as an operator does."""
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=PATIENCE)

    def run(self, *arguments: str) -> str:
        """Runs a command of the program against it."""
        environment = clean_environment(GATEPOST_SERVER=self.address)
        command = [self._program, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def python(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        """Starts a Python program that finds it."""
        variables = clean_environment(GATEPOST_SERVER=self.address, PYTHONUNBUFFERED="1", **environment)
        command = [sys.executable, "-W", "default", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture(scope="session")
def program() -> Path:
    """The coordinator's program: GATEPOST_PROGRAM, or what `cargo build` makes."""
    if given := os.environ.get("GATEPOST_PROGRAM"):
        return Path(given).absolute()
    subprocess.run(["cargo", "build", "--quiet", "--bin", "gatepost"], cwd=REPOSITORY, check=True)
    return REPOSITORY / "target/debug/gatepost"


@pytest.fixture
def coordinator(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Coordinator]:
    """A coordinator that is the default server of this process."""
    started = Coordinator(program, tmp_path / "data")
    for name in ("GATEPOST_SCOPE", "GATEPOST_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GATEPOST_SERVER", started.address)
    yield started
    started.kill()


@pytest.fixture
def client(coordinator: Coordinator) -> Iterator[Client]:
    """A client of that coordinator."""
    with Client(coordinator.address) as client:
        yield client


@pytest.fixture
def seen(caplog: pytest.LogCaptureFixture) -> Callable[[str], None]:
    """Returns once a wait of this process has had its first answer."""
    caplog.set_level(logging.DEBUG, "gatepost")
    return lambda gate: eventually(lambda: f"gate {gate} is WAITING in round 1" in caplog.messages, f"{gate} is seen")


def eventually(holds: Callable[[], object], what: str) -> None:
    """Looks again and again until something holds: for what happens elsewhere and sends no message."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"it never holds that {what}"
        time.sleep(0.01)


async def until_alone() -> None:
    """Returns once the event loop has no other task. gRPC's own for a call that was cancelled end a moment later."""
    end = time.monotonic() + PATIENCE
    while len(asyncio.all_tasks()) > 1:
        assert time.monotonic() < end, f"these are left: {asyncio.all_tasks()}"
        await asyncio.sleep(0.01)


def until_waiters(client: Client, gate: str, count: int) -> None:
    """Returns once so many workers are connected to a gate."""
    eventually(
        lambda: [found.waiter_count for found in client.list_gates().gates if found.name == gate] == [count],
        f"{count} wait on {gate}",
    )


def until_waiting(client: Client, gate: str) -> None:
    """Returns once somebody has reached a gate."""
    with client.watch(gate, statuses=[GateStatus.WAITING], initial_state=True) as watch:
        next(watch)


def output(process: subprocess.Popen[str]) -> str:
    """What a process says until it ends, which has to be well."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert not err, err
    return out
