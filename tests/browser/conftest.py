"""A real coordinator, real workers and a real browser for each test that asks for them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds that anything may take before a test fails: far more than it needs on a busy machine."""

GATE = "release-42/prod"

CHROMIUM = shutil.which("chromium")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=PATIENCE * 1000)


def program() -> Path:
    """The coordinator's program: GATEPOST_PROGRAM, or what `cargo build` makes."""
    return Path(os.environ.get("GATEPOST_PROGRAM", REPOSITORY / "target/debug/gatepost")).absolute()


class Coordinator:
    """A coordinator process with data of its own, and the workers that wait at it."""

    token = ""
    """What tests show to it when they ask its API, where it asks who calls."""

    def __init__(self, data: Path, flags: Iterable[str | Path] = ()) -> None:
        self._data = data
        self._flags = [*flags]
        self._workers: list[subprocess.Popen[str]] = []
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEPOST_")}
        self._start("127.0.0.1:0")

    def _start(self, listen: str) -> None:
        command = [program(), "serve", "--listen", listen, "--data-dir", self._data, *self._flags]
        self._process = subprocess.Popen(
            command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        said = self._process.stdout.readline()
        assert "http://" in said, f"it does not say where it listens: {said!r}"
        self.url = "http://" + said.split("http://")[1].split(",")[0]

    def kill(self) -> None:
        """Ends it as a crash does."""
        self._process.kill()
        self._process.communicate()

    def restart(self, data: Path | None = None, flags: Iterable[str | Path] = ()) -> None:
        """Starts it again where it was, after a kill."""
        self._data = data or self._data
        self._flags = [*flags]
        self._start(urlsplit(self.url).netloc)

    def reload(self) -> None:
        """Has it read its configuration again."""
        self._process.send_signal(signal.SIGHUP)

    def end(self) -> None:
        """Ends it and its workers."""
        self.kill()
        for worker in self._workers:
            worker.kill()
            worker.communicate()

    def run(self, *arguments: str) -> str:
        """Runs a command of the program against it."""
        environment = self._environment | {"GATEPOST_SERVER": self.url}
        return subprocess.run(
            [program(), *arguments], env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE
        ).stdout

    def worker(self, gate: str, *arguments: str) -> subprocess.Popen[str]:
        """Starts a worker that waits at a gate, and makes it if it is told what it asks for."""
        command = [program(), "wait", gate, *arguments]
        environment = self._environment | {"GATEPOST_SERVER": self.url}
        pipe = subprocess.PIPE
        worker = subprocess.Popen(command, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        self._workers.append(worker)
        return worker

    def get(self, path: str) -> dict[str, Any]:
        """Asks the JSON API."""
        return self._ask(urllib.request.Request(self.url + path))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Makes a call of the JSON API."""
        headers = {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(self.url + path, json.dumps(body).encode(), headers))

    def _ask(self, request: urllib.request.Request) -> dict[str, Any]:
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def gate(self, name: str) -> dict[str, Any]:
        """Reads a gate."""
        return self.get(f"/v1/gates/{quote(name, safe='')}")

    def waited_at(self) -> list[str]:
        """Names the gates at which workers are connected."""
        return [gate["name"] for gate in self.get("/v1/gates").get("gates", []) if gate.get("waiterCount")]

    def create(self, name: str, **spec: Any) -> None:
        """Makes a gate that nobody waits at."""
        self.post("/v1/gates", {"gate": name, "spec": spec})

    def make_wait(self, name: str, **spec: Any) -> None:
        """Makes a gate that a worker has reached, which is gone again."""
        self.create(name, **spec)
        self.get(f"/v1/gates/{quote(name, safe='')}:wait?timeout=0.001s")

    def make_all_wait(self, names: Iterable[str]) -> None:
        """Does the same for many gates at a time."""
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(lambda name: self.make_wait(name, timeout="3600s", title=f"Gate {name}"), names))


def eventually(holds: Callable[[], object], what: str) -> None:
    """Looks again and again until something holds: for what happens elsewhere and sends no message."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"it never holds that {what}"
        time.sleep(0.01)


def released(worker: subprocess.Popen[str]) -> int:
    """Waits for a worker's end, and returns its exit code."""
    worker.communicate(timeout=PATIENCE)
    return worker.returncode


class Watched:
    """What a browser did that a page of ours never may: ask another host, break its policy, or fail."""

    def __init__(self, context: BrowserContext, host: str) -> None:
        self.other_hosts: list[str] = []
        self.errors: list[str] = []
        self._host = host
        context.on("request", lambda request: self._asked(request.url))
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("console", self._said)

    def _asked(self, url: str) -> None:
        if urlsplit(url).netloc != self._host:
            self.other_hosts.append(url)

    def _said(self, said: ConsoleMessage) -> None:
        # The browser says of each call whether it was refused or not answered. The page shows it.
        is_call = said.text.startswith("Failed to load resource") and "/v1/" in said.location["url"]
        if said.type in {"error", "warning"} and not is_call:
            self.errors.append(said.text)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    if CHROMIUM is None:
        pytest.skip("SKIPPED: there is no chromium; test.sh installs it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield started
        started.close()


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    """A coordinator with nothing in it."""
    started = Coordinator(tmp_path / "data")
    yield started
    started.end()


class Browsers:
    """Browsers of different people, as many as are asked for."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._url = url
        self._opened: list[tuple[BrowserContext, Watched]] = []

    def open(self, path: str = "/", **options: Any) -> Page:
        """Opens a path in a browser of its own, and returns once it is live."""
        page = self.visit(path, **options)
        expect(page.locator("#connection")).to_have_text("Live")
        return page

    def visit(self, path: str = "/", **options: Any) -> Page:
        """Does the same, whatever becomes of it."""
        settings = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", "timezone_id": "UTC"} | options
        context = self._browser.new_context(base_url=self._url, **settings)
        context.set_default_timeout(PATIENCE * 1000)
        self._opened.append((context, Watched(context, urlsplit(self._url).netloc)))
        page = context.new_page()
        page.goto(path)
        return page

    def close(self) -> None:
        """Closes all, and fails if one did what it may not."""
        for context, _ in self._opened:
            context.close()
        for _, watched in self._opened:
            assert not watched.other_hosts
            assert not watched.errors


@pytest.fixture
def browsers(browser: Browser, coordinator: Coordinator) -> Iterator[Browsers]:
    """Browsers that look at the coordinator's pages."""
    opened = Browsers(browser, coordinator.url)
    yield opened
    opened.close()


@pytest.fixture
def page(browsers: Browsers) -> Page:
    """The list, in one browser."""
    return browsers.open()


def card(page: Page, name: str) -> Locator:
    """The card of a gate on the list."""
    return page.locator(f'li.gate[data-name="{name}"]')


def point_at(page: Page, name: str) -> None:
    """Points at a gate's card, which stays for as long as that, whatever becomes of the gate."""
    expect(card(page, name)).to_be_in_viewport()
    card(page, name).get_by_role("heading").hover()


def button(page: Page, verb: str, name: str) -> Locator:
    """Approve or Reject of a gate."""
    return page.get_by_role("button", name=f"{verb} {name}", exact=True)


def comment(page: Page, name: str) -> Locator:
    """Where the comment on a gate is typed."""
    return page.get_by_role("textbox", name=f"Comment on {name}", exact=True)
