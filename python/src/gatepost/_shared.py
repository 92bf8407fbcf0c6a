"""The clients that the gates of one process share."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from gatepost.aio import AsyncClient
from gatepost.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gatepost._endpoint import Endpoints


@dataclass
class _OfLoop:
    client: AsyncClient
    users: int = 0


class Shared:
    """One blocking client of endpoints, and one for each event loop that waits."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self.client = Client._of(endpoints)  # noqa: SLF001
        self._lock = threading.Lock()
        self._of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop] = WeakKeyDictionary()

    @asynccontextmanager
    async def on_this_loop(self) -> AsyncIterator[AsyncClient]:
        """Gives a client of the running loop. The last to leave closes it, so that the loop ends with nothing open."""
        loop = asyncio.get_running_loop()
        with self._lock:
            shared = self._of_loops.setdefault(loop, _OfLoop(AsyncClient._of(self._endpoints)))  # noqa: SLF001
        # Only its own loop counts.
        shared.users += 1
        try:
            yield shared.client
        finally:
            shared.users -= 1
            if not shared.users:
                with self._lock:
                    del self._of_loops[loop]
                await shared.client.close()


_lock = threading.Lock()
_shared: dict[Endpoints, Shared] = {}


def shared(endpoints: Endpoints) -> Shared:
    """Returns what this process shares for endpoints."""
    with _lock:
        known = _shared.get(endpoints)
        # What somebody has closed is of no use to those who come later.
        if known is None or known.client.is_closed:
            known = _shared[endpoints] = Shared(endpoints)
        return known
