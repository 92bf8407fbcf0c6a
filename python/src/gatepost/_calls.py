"""Calls on one event loop: made again while that may help, on connections that are made when they are needed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar, cast

import grpc

from gatepost._backoff import CallPauses
from gatepost._stream import Stream
from gatepost.errors import ClosedError, UnavailableError, from_rpc_error
from gatepost.v1.gate_service_pb2_grpc import GateServiceStub

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from gatepost._endpoint import Endpoint

T = TypeVar("T")

CALL_SECONDS_MAX = 10.0
"""How long one attempt of a call may take: far longer than a busy disk needs, and no longer than a person waits."""


class Calls:
    """The way to an endpoint from the event loop that first uses it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._connection: _Connection | None = None
        self.is_closed = False

    async def call(self, method: str, request: Message, _answer: type[T], *, repeat: bool = True) -> T:
        """Makes a call, and makes it again while that may help."""
        pauses = CallPauses()
        while True:
            call = getattr(self._connected().calls, method)
            try:
                response = await call(request, timeout=CALL_SECONDS_MAX, metadata=self.endpoint.metadata)
            except grpc.aio.AioRpcError as error:
                reason = from_rpc_error(error, self.endpoint.address)
                pause = pauses.next() if repeat and isinstance(reason, UnavailableError) else None
                if pause is None:
                    raise reason from error
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                # gRPC says so too when its channel is closed.
                if self.is_closed:
                    raise ClosedError("the client was closed") from None
                raise
            else:
                return cast("T", response)

    def open(self, method: str, request: Message, _answer: type[T]) -> Stream[T]:
        """Begins a streaming call."""
        call = getattr(self._connected().streams, method)
        return Stream(call(request, metadata=self.endpoint.metadata), self.endpoint.address)

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
            self._connection = _Connection(self.endpoint, loop)
        if self._connection.loop is not loop:
            raise RuntimeError("an AsyncClient belongs to the event loop that first used it: make one for each loop")
        return self._connection


class _Connection:
    """The channels of one event loop."""

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._channels = (endpoint.connect(), endpoint.connect())
        self.calls, self.streams = map(GateServiceStub, self._channels)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
