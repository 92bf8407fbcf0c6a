"""Streams whose silence is noticed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import grpc

from gatepost.errors import ClosedError, UnavailableError, from_rpc_error

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")

SILENCE_SECONDS_MAX = 60.0
"""How long a stream may be silent: three of the coordinator's heartbeats."""


class Stream(Generic[T]):
    """One streaming call. Leaving it as a context ends the call and waits until nothing of it is left."""

    def __init__(self, call: grpc.aio.UnaryStreamCall[object, T], address: str) -> None:
        self._call = call
        self.address = address
        self._read: asyncio.Future[object] | None = None

    async def next(self) -> T:
        """Returns the next message. Nothing is lost when it is cancelled.

        Raises:
            UnavailableError: The stream ended, or was silent for too long.
            RefusedError: The coordinator refused the call.
            ClosedError: The channel was closed.

        """
        self._read = self._read or asyncio.ensure_future(self._call.read())
        # Not wait_for, which before Python 3.12 forgets a cancellation that comes together with a message.
        done, _ = await asyncio.wait({self._read}, timeout=SILENCE_SECONDS_MAX)
        if not done:
            raise UnavailableError(f"cannot reach {self.address} (no sign of life for {SILENCE_SECONDS_MAX:g} s)")
        read, self._read = self._read, None
        if read.cancelled():
            raise ClosedError("the client was closed")
        try:
            message = read.result()
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self.address) from error
        if message is grpc.aio.EOF:
            raise UnavailableError(f"cannot reach {self.address} (the stream ended)")
        return cast("T", message)

    async def __aenter__(self) -> Stream[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the call."""
        self._call.cancel()
        if self._read is not None:
            await asyncio.gather(self._read, return_exceptions=True)
