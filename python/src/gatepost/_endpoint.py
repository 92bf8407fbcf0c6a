"""Where a coordinator is, and how to connect to it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union
from urllib.parse import urlsplit

import grpc

from gatepost.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Sequence

Tls: TypeAlias = Union[bool, str, "os.PathLike[str]", grpc.ChannelCredentials, None]
"""True: with the roots that gRPC trusts. A path: with the roots in that PEM file. None: if the address says `https`."""

DEFAULT_SERVER = "http://127.0.0.1:7070"

CONNECT_SECONDS = 5
"""How long to try to reach an address: three lost packets of a handshake."""
KEEPALIVE_SECONDS = 20
"""How often to ask a silent connection for a sign of life, as often as the coordinator sends its own."""
KEEPALIVE_TIMEOUT_SECONDS = 10
"""How long that sign may take."""
ANSWER_BYTES_MAX = 16 * 1024 * 1024
"""The largest answer to read: a page of 100 gates or events, each below 100 KiB, with room to spare."""
RECONNECT_SECONDS_MIN = 0.1
"""The first pause before gRPC connects again."""
RECONNECT_SECONDS_MAX = 1
"""The longest, well below the time for which a call is tried: a call finds a coordinator that is back."""

_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", ANSWER_BYTES_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", int(RECONNECT_SECONDS_MIN * 1000)),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_SECONDS_MAX * 1000),
    ("grpc.min_reconnect_backoff_ms", CONNECT_SECONDS * 1000),
    # Each channel has a connection of its own, so that calls never queue behind waits.
    ("grpc.use_local_subchannel_pool", 1),
    # A repeated call is this client's business: it knows which ones are safe.
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True)
class Endpoint:
    """A coordinator's address, and what to show it. Equal ones can share their connections."""

    address: str
    """As `http://host:port` or `https://host:port`."""
    credentials: grpc.ChannelCredentials | None
    token: str | None = field(repr=False)

    @classmethod
    def of(cls, server: str | None = None, token: str | None = None, tls: Tls = None) -> Endpoint:
        """Reads what a caller gave, and the environment for what is left out: GATEPOST_SERVER, GATEPOST_TOKEN.

        Raises:
            AddressError: The server is no address.
            ValueError: The token is one that no header can carry.
            OSError: The file of roots cannot be read.

        """
        server = server or os.environ.get("GATEPOST_SERVER") or DEFAULT_SERVER
        token = token or os.environ.get("GATEPOST_TOKEN") or None
        # Without the token itself, which is a secret.
        if token and not (token.isascii() and token.isprintable()):
            raise ValueError("the token has a line break or another character that is not printable ASCII")
        scheme, authority = _parse(server)
        if tls is False and scheme == "https":
            raise AddressError(f"{server!r} asks for TLS, and tls=False for none")
        credentials = _credentials(scheme == "https" if tls is None else tls)
        return cls(f"{'http' if credentials is None else 'https'}://{authority}", credentials, token)

    def connect(self) -> grpc.aio.Channel:
        """Makes a channel of the running event loop, which connects when it is first used.

        Raises:
            RuntimeError: This process was forked from one that has made channels: gRPC would hang in it.

        """
        global _process  # noqa: PLW0603
        _process = _process or os.getpid()
        if _process != os.getpid():
            raise RuntimeError(
                "this process was forked from one that had used gatepost, and gRPC does not survive a fork: start "
                'processes with the method "spawn" or "forkserver", or use gates in the children only'
            )
        target = self.address.partition("://")[2]
        if self.credentials is None:
            return grpc.aio.insecure_channel(target, _OPTIONS)
        return grpc.aio.secure_channel(target, self.credentials, _OPTIONS)

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        """What goes with every call."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)


def _parse(server: str) -> tuple[str, str]:
    """Splits `http://host:port`, `https://host:port` or `host:port` into scheme and authority."""
    url = server if "://" in server else f"http://{server}"

    def refuse(problem: str) -> AddressError:
        return AddressError(f"{server!r} is not the address of a coordinator: {problem}")

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refuse(str(error)) from error
    if parts.scheme not in ("http", "https"):
        raise refuse("only http:// and https:// are supported")
    if not parts.hostname or any(character.isspace() for character in url) or "@" in parts.netloc:
        raise refuse("it has no host")
    if not port:
        raise refuse("it has no port")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise refuse("it has a path")
    return parts.scheme, parts.netloc


def _credentials(tls: bool | str | os.PathLike[str] | grpc.ChannelCredentials) -> grpc.ChannelCredentials | None:
    if isinstance(tls, bool):
        return _trusting(None) if tls else None
    if isinstance(tls, grpc.ChannelCredentials):
        return tls
    return _trusting(Path(tls).read_bytes())


@lru_cache
def _trusting(roots: bytes | None) -> grpc.ChannelCredentials:
    """Makes credentials, the same for the same roots, so that endpoints with them are equal."""
    return grpc.ssl_channel_credentials(root_certificates=roots)


_process: int | None = None
"""The process that has made channels."""
