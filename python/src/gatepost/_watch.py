"""Watches that outlive their connections."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gatepost import v1
from gatepost._backoff import pause
from gatepost._memory import WatchMemory
from gatepost.errors import GatepostError

if TYPE_CHECKING:
    from types import TracebackType

    from gatepost._calls import Calls
    from gatepost._stream import Stream


class AsyncWatch:
    """A watch that outlives its connections: see `AsyncClient.watch`.

    `async for event in watch` tells events in the order of their revisions, each once and none left out, and never ends
    by itself; one task at a time takes steps. Only an initial state may be repeated, when the connection breaks before
    all of it was read. Nothing is lost when a step is cancelled, as by `asyncio.wait_for`. Leaving it as a context, or
    `close`, ends it on the coordinator.

    Raises:
        RevisionError: The events asked for are forgotten, or the store was restored from a backup.
        StoreReplacedError: Another store answers.
        RefusedError: Any other refusal.

    """

    def __init__(self, calls: Calls, request: v1.WatchRequest) -> None:
        self._calls = calls
        self._request = request
        self._memory = WatchMemory(request)
        self._turns = calls.turns()
        self._stream: Stream[v1.WatchResponse] | None = None
        self._events: deque[v1.Event] = deque()
        self._progress = 0
        self._closed = False

    @property
    def revision(self) -> int:
        """Everything up to it was told: a watch that starts with the next one misses nothing. 0: nothing yet."""
        return self._memory.seen or 0

    def __aiter__(self) -> AsyncWatch:
        return self

    async def __anext__(self) -> v1.Event:
        while not self._events:
            # The bookmark of a response comes after its events.
            if self._progress:
                self._memory.on_revision(self._progress)
                self._progress = 0
            if self._closed:
                raise StopAsyncIteration
            try:
                await self._receive()
            except GatepostError as error:
                if self._closed:
                    # By another task, meanwhile.
                    raise StopAsyncIteration from None
                await self._disconnect()
                self._memory.on_error(error)
                what = f"the watch of {self._request.prefix or 'all gates'}"
                await pause(self._turns.next(error), what, error)
        event = self._events.popleft()
        self._memory.on_event(event)
        return event

    async def _receive(self) -> None:
        if self._stream is None:
            self._stream = self._calls.open(self._turns, "Watch", self._memory.request(), v1.WatchResponse)
        response = await self._stream.next()
        self._turns.on_answer()
        if response.HasField("created"):
            self._memory.on_created(response.created, self._stream.address)
        self._events.extend(response.events)
        self._progress = response.progress.revision

    async def _disconnect(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()

    async def close(self) -> None:
        """Ends the watch."""
        self._closed = True
        self._events.clear()
        await self._disconnect()

    async def __aenter__(self) -> AsyncWatch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
