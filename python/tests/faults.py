"""What stands between a client and the coordinator, and fails: connections that are cut, and replies that are lost."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cable:
    """A TCP forwarder that can be unplugged."""

    def __init__(self, to: str) -> None:
        host, port = to.rsplit(":", 1)
        self._to = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._plugged = True
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.connections = 0
        self._lock = threading.Lock()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def unplug(self) -> None:
        """Cuts every connection and takes no more."""
        with self._lock:
            self._plugged = False
            for pair in self._pairs:
                for end in pair:
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
            self._pairs.clear()

    def plug(self) -> None:
        """Takes connections again."""
        with self._lock:
            self._plugged = True

    def close(self) -> None:
        """Ends it."""
        self.unplug()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if not self._plugged:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(self._to)
                except OSError:
                    near.close()
                    continue
                self._pairs.append((near, far))
                self.connections += 1
            threading.Thread(target=_pump, args=(near, far), daemon=True).start()


def _pump(near: socket.socket, far: socket.socket) -> None:
    with selectors.DefaultSelector() as ready, near, far:
        ready.register(near, selectors.EVENT_READ, far)
        ready.register(far, selectors.EVENT_READ, near)
        while True:
            for key, _ in ready.select():
                try:
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        return
                    key.data.sendall(data)
                except OSError:
                    return


class Proxy(grpc.GenericRpcHandler):
    """A gRPC server that passes every call on, notes it, and can lose what comes back."""

    def __init__(self, to: str, credentials: grpc.ServerCredentials | None = None) -> None:
        self._channel = grpc.insecure_channel(to)
        self._server = grpc.server(ThreadPoolExecutor(max_workers=20), handlers=[self])
        if credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{port}"
        self.calls: list[tuple[str, bytes, dict[str, Any]]] = []
        self.lose = 0
        """So many of the next replies of single calls are lost."""
        self.too_many: list[float] = []
        """Each of the next calls is refused as one too many, for so many seconds."""
        self.silence = 0
        """So many of the next streams say nothing."""
        self._server.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()
        self._channel.close()

    def _refuse(self, context: grpc.ServicerContext) -> None:
        if not self.too_many:
            return
        status = status_pb2.Status(code=8, message="too many calls")
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason="RATE_LIMITED", domain="gatepost"))
        wait = error_details_pb2.RetryInfo()
        wait.retry_delay.FromMilliseconds(round(self.too_many.pop(0) * 1000))
        status.details.add().Pack(wait)
        context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, status.message)

    def requests(self, method: str) -> list[bytes]:
        """What was asked of a method."""
        return [request for name, request, _ in self.calls if name == method]

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = handler_call_details.method
        method = path.rsplit("/", 1)[1]
        metadata = dict(handler_call_details.invocation_metadata)

        def single(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls.append((method, request, metadata))
            self._refuse(context)
            try:
                answer = self._channel.unary_unary(path)(request)
            except grpc.RpcError as error:
                context.set_trailing_metadata(error.trailing_metadata())
                context.abort(error.code(), error.details())
            if self.lose:
                self.lose -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "the reply is lost")
            return answer

        def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            self.calls.append((method, request, metadata))
            self._refuse(context)
            if self.silence:
                self.silence -= 1
                ended = threading.Event()
                context.add_callback(ended.set)
                ended.wait()
                return
            answers = self._channel.unary_stream(path)(request)
            context.add_callback(answers.cancel)
            yield from answers

        if method in ("Wait", "Watch"):
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(single)
