"""One event loop in a thread of its own, on which all blocking calls of a process run.

Whoever blocks holds no more than its own thread, asleep until there is an answer: a thousand blocking waits are a
thousand sleeping threads and this one.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

T = TypeVar("T")


class _Background:
    """The loop of one process, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon, so that the process can end: what is open then ends with the connection.
                self._thread = threading.Thread(target=self._loop.run_forever, name="gatepost", daemon=True)
                self._thread.start()
            return self._loop

    @property
    def is_current(self) -> bool:
        return threading.current_thread() is self._thread


_background = _Background()


def _after_fork() -> None:
    """A forked process has neither the thread nor the connections of its parent."""
    global _background  # noqa: PLW0603
    _background = _Background()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Begins something on the background loop."""
    if _background.is_current:
        work.close()
        raise RuntimeError("a blocking call on gatepost's own event loop would wait for itself")
    return asyncio.run_coroutine_threadsafe(work, _background.loop())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Does something on the background loop and blocks until it is done. Ctrl-C cancels it."""
    future = submit(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
