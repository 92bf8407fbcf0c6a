"""Where coordinators are, and how to connect to them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union
from urllib.parse import urlsplit

import grpc

from gatepost.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Sequence

Tls: TypeAlias = Union[bool, str, "os.PathLike[str]", grpc.ChannelCredentials, None]
"""True: with the roots that gRPC trusts. A path: with the roots in that PEM file. None: if the address says `https`,
with what the environment names."""

Token: TypeAlias = Union[str, "os.PathLike[str]", None]
"""The token itself. A path: what is in that file, read for each call, so that it may be replaced."""

DEFAULT_SERVER = "http://127.0.0.1:7070"


@dataclass(frozen=True)
class _Patience:
    """How many seconds an endpoint may be silent."""

    connect: int
    """How long to try to reach it."""
    keepalive: int
    """How often to ask a silent connection for a sign of life."""
    keepalive_timeout: int
    """How long that sign may take."""


_OF_ONE = _Patience(connect=5, keepalive=20, keepalive_timeout=10)
"""With the only endpoint: three lost packets of a handshake, and a question as often as the coordinator's heartbeats.

There is nothing to gain from giving it up sooner.
"""
_OF_SEVERAL = _Patience(connect=2, keepalive=5, keepalive_timeout=5)
"""With one of several: its streams go on elsewhere ten seconds after it was paused or cut off.

Leaving one that was only slow costs a reconnect and loses nothing. One lost packet of a handshake.
"""
ANSWER_BYTES_MAX = 16 * 1024 * 1024
"""The largest answer to read: a page of 100 gates or events, each below 112 KiB, with room to spare."""
RECONNECT_SECONDS_MIN = 0.1
"""The first pause before gRPC connects again."""
RECONNECT_SECONDS_MAX = 1
"""The longest, well below the time for which a call is tried: a call finds a coordinator that is back."""

_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", ANSWER_BYTES_MAX),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", int(RECONNECT_SECONDS_MIN * 1000)),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_SECONDS_MAX * 1000),
    # Each channel has a connection of its own, so that calls never queue behind waits.
    ("grpc.use_local_subchannel_pool", 1),
    # A repeated call is this client's business: it knows which ones are safe.
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True)
class Endpoint:
    """A coordinator's address, and what to show it."""

    address: str
    """As `http://host:port` or `https://host:port`."""
    credentials: grpc.ChannelCredentials | None
    token: str | Path | None = field(repr=False)
    patience: _Patience

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
        options = (
            *_OPTIONS,
            ("grpc.keepalive_time_ms", self.patience.keepalive * 1000),
            ("grpc.keepalive_timeout_ms", self.patience.keepalive_timeout * 1000),
            ("grpc.min_reconnect_backoff_ms", self.patience.connect * 1000),
        )
        if self.credentials is None:
            return grpc.aio.insecure_channel(target, options)
        return grpc.aio.secure_channel(target, self.credentials, options)

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        """What goes with every call."""
        return () if self.token is None else (("authorization", f"Bearer {_read(self.token)}"),)


@dataclass(frozen=True)
class Endpoints:
    """The coordinators of one store, at least one. Equal ones can share their connections."""

    each: tuple[Endpoint, ...]

    @classmethod
    def of(cls, server: str | None = None, token: Token = None, tls: Tls = None) -> Endpoints:
        """Reads what a caller gave, and the environment for what is left out.

        That is GATEPOST_SERVER; for the token, GATEPOST_TOKEN_FILE or GATEPOST_TOKEN; for TLS, GATEPOST_CACERT, and
        GATEPOST_CERT with GATEPOST_KEY.

        Raises:
            AddressError: The server is no address, some have TLS and others have not, or others could read the token on
                its way there.
            ValueError: The token is one that no header can carry, or a certificate has no key.
            OSError: A file of certificates or that of the token cannot be read.

        """
        environment = os.environ
        server = server or environment.get("GATEPOST_SERVER") or DEFAULT_SERVER
        if not token and (file := environment.get("GATEPOST_TOKEN_FILE")):
            token = Path(file)
        token = token or environment.get("GATEPOST_TOKEN") or None
        if token is not None and not isinstance(token, str):
            token = Path(token)
        scheme, authorities = _parse_all(server)
        if tls is False and scheme == "https":
            raise AddressError(f"{server!r} asks for TLS, and tls=False for none")
        if tls is None and scheme == "https":
            tls = _of_environment()
        credentials = _credentials(False if tls is None else tls)
        if token is not None:
            _read(token)
            over_http = environment.get("GATEPOST_TOKEN_OVER_HTTP", "").lower() in ("1", "true", "yes", "on")
            readable = () if credentials is not None or over_http else authorities
            for authority in readable:
                if not _is_loopback(authority):
                    raise AddressError(
                        f"the token would go to {authority!r} readable for whoever is in between: use https://, or set "
                        "GATEPOST_TOKEN_OVER_HTTP if the network is trusted"
                    )
        scheme = "http" if credentials is None else "https"
        patience = _OF_ONE if len(authorities) == 1 else _OF_SEVERAL
        return cls(tuple(Endpoint(f"{scheme}://{each}", credentials, token, patience) for each in authorities))

    @property
    def address(self) -> str:
        """All addresses, with commas between."""
        return ",".join(endpoint.address for endpoint in self.each)


def _parse_all(server: str) -> tuple[str, list[str]]:
    """Splits one address, or some with commas between, into the scheme of all and the authority of each."""

    def refuse(problem: str) -> AddressError:
        return AddressError(f"{server!r} is not the address of a coordinator: {problem}")

    texts = [text.strip() for text in server.split(",")]
    if len(texts) > 1 and "" in texts:
        raise refuse("an address is missing beside a comma")
    parsed = [_parse(text) for text in texts]
    schemes = {scheme for scheme, _ in parsed}
    if len(schemes) > 1:
        raise refuse("it mixes http:// and https://")
    authorities = [authority for _, authority in parsed]
    for at, authority in enumerate(authorities):
        if authority.lower() in (other.lower() for other in authorities[:at]):
            raise refuse(f"it names {authority} twice")
    return schemes.pop(), authorities


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


def _read(token: str | Path) -> str:
    """Reads a token."""
    text = token if isinstance(token, str) else token.read_text("utf-8").strip()
    # Without the token itself, which is a secret.
    if not (text and text.isascii() and text.isprintable()):
        raise ValueError("the token is empty, or has a line break or another character that is not printable ASCII")
    return text


def _is_loopback(authority: str) -> bool:
    """Says whether nobody is in between."""
    host = urlsplit(f"http://{authority}").hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _credentials(tls: bool | str | os.PathLike[str] | grpc.ChannelCredentials) -> grpc.ChannelCredentials | None:
    if isinstance(tls, bool):
        return _made_of(None, None, None) if tls else None
    if isinstance(tls, grpc.ChannelCredentials):
        return tls
    return _made_of(Path(tls).read_bytes(), None, None)


def _of_environment() -> grpc.ChannelCredentials:
    """Trusts and shows what the environment says, as the command line does."""
    files = [os.environ.get(name) for name in ("GATEPOST_CACERT", "GATEPOST_KEY", "GATEPOST_CERT")]
    if bool(files[1]) != bool(files[2]):
        raise ValueError("GATEPOST_CERT and GATEPOST_KEY go together")
    return _made_of(*(Path(file).read_bytes() if file else None for file in files))


@lru_cache
def _made_of(roots: bytes | None, key: bytes | None, certificate: bytes | None) -> grpc.ChannelCredentials:
    """Makes credentials, the same of the same files, so that endpoints with them are equal."""
    return grpc.ssl_channel_credentials(roots, key, certificate)


_process: int | None = None
"""The process that has made channels."""
