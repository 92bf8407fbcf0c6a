"""Calls on one event loop: made again while that may help, on connections that are made when they are needed."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, TypeVar, cast

import grpc

from gatepost._stream import Stream
from gatepost._turns import Turns
from gatepost.errors import ClosedError, UnavailableError, from_rpc_error, is_unsent, unavailable
from gatepost.v1.gate_service_pb2_grpc import GateServiceStub

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from gatepost._endpoint import Endpoints

T = TypeVar("T")

AGAIN_SECONDS_MAX = 2.0
"""Seconds after which a call is not made again after a pause: a person looks at the prompt."""
CALL_SECONDS_MAX = 10.0
"""How long one attempt of a call may take: far longer than a busy disk needs, and no longer than a person waits."""
CALL_SECONDS_BEFORE_NEXT = 2.0
"""How long one may take while there is another endpoint to go to.

A store answers far sooner, and two endpoints that were paused or cut off leave a call to be answered by a third within
five seconds. The last of a round has all of `CALL_SECONDS_MAX`, so that a store that is slow for all is waited for.
"""


class Calls:
    """The way to the endpoints from the event loop that first uses it."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self._connection: _Connection | None = None
        self.is_closed = False
        self._answered = 0
        # From anywhere, so that programs that begin one stream each are spread too.
        self._streams = random.randrange(len(endpoints.each))  # noqa: S311

    async def call(self, method: str, request: Message, _answer: type[T], *, repeat: bool = True) -> T:
        """Makes a call, and makes it again while that may help; without `repeat` only if it was never sent."""
        begin = time.monotonic()
        turns = Turns.of_call(self._answered, len(self.endpoints.each))
        lost: list[UnavailableError] = []
        while True:
            endpoint = self.endpoints.each[turns.current]
            call = getattr(self._connected().calls[turns.current], method)
            seconds = CALL_SECONDS_MAX if turns.is_last or not repeat else CALL_SECONDS_BEFORE_NEXT
            try:
                response = await call(request, timeout=seconds, metadata=endpoint.metadata)
            except grpc.aio.AioRpcError as error:
                reason = from_rpc_error(error, endpoint.address)
                if not isinstance(reason, UnavailableError):
                    self._answered = turns.current
                    raise reason from error
                if not (repeat or is_unsent(error)):
                    raise reason from error
                lost.append(reason)
                pause = turns.next(reason)
                if pause and not (repeat and time.monotonic() + pause < begin + AGAIN_SECONDS_MAX):
                    raise unavailable(lost) from error
                if pause:
                    lost.clear()
                    await asyncio.sleep(pause)
            except asyncio.CancelledError:
                # gRPC says so too when its channel is closed.
                if self.is_closed:
                    raise ClosedError("the client was closed") from None
                raise
            else:
                self._answered = turns.current
                return cast("T", response)

    def turns(self) -> Turns:
        """Returns the turns of the next stream."""
        self._streams += 1
        return Turns.of_stream(self._streams, len(self.endpoints.each))

    def open(self, turns: Turns, method: str, request: Message, _answer: type[T]) -> Stream[T]:
        """Begins a streaming call where it is its turn."""
        endpoint = self.endpoints.each[turns.current]
        call = getattr(self._connected().streams[turns.current], method)
        return Stream(call(request, metadata=endpoint.metadata), endpoint.address)

    async def close(self) -> None:
        """Closes the connections, and ends what is under way."""
        self.is_closed = True
        if self._connection is not None:
            await self._connection.close()

    def _connected(self) -> _Connection:
        if self.is_closed:
            raise ClosedError("the client was closed")
        loop = asyncio.get_running_loop()
        if self._connection is None:
            self._connection = _Connection(self.endpoints, loop)
        if self._connection.loop is not loop:
            raise RuntimeError("an AsyncClient belongs to the event loop that first used it: make one for each loop")
        return self._connection


class _Connection:
    """The channels of one event loop: two to each endpoint, which connect when they are first used."""

    def __init__(self, endpoints: Endpoints, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        calls, streams = ([each.connect() for each in endpoints.each] for _ in range(2))
        self._channels = calls + streams
        self.calls, self.streams = list(map(GateServiceStub, calls)), list(map(GateServiceStub, streams))

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
