"""The blocking client of the coordinator: the calls of `AsyncClient`, for threads."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import os
import threading
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as _FutureTimeoutError
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from gatepost._background import run, submit
from gatepost._endpoint import Endpoints, Tls, Token
from gatepost.aio import AsyncClient

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from types import TracebackType

    from gatepost import v1
    from gatepost._watch import AsyncWatch
    from gatepost.model import GateStatus

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("gatepost")


def _blocking(
    call: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    """Makes a call of the asyncio client one that blocks."""

    @functools.wraps(call)
    def blocking(client: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run(call(client._current(), *args, **kwargs))  # noqa: SLF001

    return blocking


class Client:
    """A way to a coordinator for any number of threads.

    Arguments, retries and errors are those of `AsyncClient`. All blocking calls of a process share one thread, which
    does their I/O; whoever blocks sleeps meanwhile, and Ctrl-C ends a call of the main thread at once, on the
    coordinator too. It must not be used on an event loop, which it would block: use `AsyncClient` there.
    """

    def __init__(self, server: str | None = None, *, token: Token = None, tls: Tls = None) -> None:
        self._begin(Endpoints.of(server, token, tls))

    @classmethod
    def _of(cls, endpoints: Endpoints) -> Client:
        """Makes a client of endpoints."""
        client = cls.__new__(cls)
        client._begin(endpoints)  # noqa: SLF001
        return client

    @property
    def address(self) -> str:
        """Where the coordinator is, as `http://host:port`; of several, all with commas between."""
        return self._endpoints.address

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, so that every call raises `ClosedError`."""
        return self._inner.is_closed

    create_gate = _blocking(AsyncClient.create_gate)
    get_gate = _blocking(AsyncClient.get_gate)
    list_gates = _blocking(AsyncClient.list_gates)
    delete_gate = _blocking(AsyncClient.delete_gate)
    wait = _blocking(AsyncClient.wait)
    approve = _blocking(AsyncClient.approve)
    reject = _blocking(AsyncClient.reject)
    report_evidence = _blocking(AsyncClient.report_evidence)
    reset_gate = _blocking(AsyncClient.reset_gate)
    reset_gates = _blocking(AsyncClient.reset_gates)
    list_events = _blocking(AsyncClient.list_events)
    close = _blocking(AsyncClient.close)

    def watch(
        self,
        prefix: str = "",
        *,
        statuses: Iterable[GateStatus] = (),
        start_revision: int = 0,
        initial_state: bool = False,
    ) -> Watch:
        """Watches what happens to gates: see `AsyncClient.watch`."""
        watch = self._current().watch(
            prefix, statuses=statuses, start_revision=start_revision, initial_state=initial_state
        )
        return Watch(watch)

    def notify(self, callback: Callable[[v1.Gate], object], prefix: str = "") -> Follower:
        """Calls back, in a thread of its own, with each gate that waits and each that begins to.

        See `AsyncClient.notify`. It goes on until what is returned is closed, or the process ends.

        Raises:
            TypeError: The callback is asynchronous.

        """
        return Follower(self._current().notify(_in_thread(callback), prefix))

    def auto_approver(self, rules: Mapping[str, Callable[[], object]], prefix: str = "") -> Follower:
        """Approves each gate that waits, or begins to, and whose rule says so: see `AsyncClient.auto_approver`.

        Rules run in a thread of their own. It goes on until what is returned is closed, or the process ends.

        Raises:
            TypeError: A rule is asynchronous.

        """
        rules = {name: _in_thread(rule) for name, rule in rules.items()}
        return Follower(self._current().auto_approver(rules, prefix))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._process = os.getpid()
        self._inner = AsyncClient._of(endpoints)  # noqa: SLF001

    def _current(self) -> AsyncClient:
        # A forked process cannot use the connections of its parent.
        if self._process != os.getpid():
            self._begin(self._endpoints)
        return self._inner


class Watch:
    """A watch that blocks for each event: see `AsyncWatch`.

    One thread at a time takes steps; any thread may close it, which ends the iteration.
    """

    def __init__(self, watch: AsyncWatch) -> None:
        self._watch = watch
        self._step: Future[v1.Event] | None = None
        self._closed = False

    @property
    def revision(self) -> int:
        """Everything up to it was told: a watch that starts with the next one misses nothing. 0: nothing yet."""
        return self._watch.revision

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> v1.Event:
        if self._closed:
            raise StopIteration
        self._step = step = submit(self._watch.__anext__())
        try:
            return step.result()
        except (CancelledError, StopAsyncIteration):
            # Somebody closed it meanwhile.
            raise StopIteration from None
        except BaseException:
            step.cancel()
            raise

    def close(self) -> None:
        """Ends the watch, and the step of another thread that is under way."""
        self._closed = True
        if self._step is not None:
            self._step.cancel()
        run(self._watch.close())

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Follower:
    """What follows gates in the background until it is closed, or refused: see `Client.notify`."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = submit(work)
        self._work.add_done_callback(_report)

    def join(self, timeout: float | None = None) -> None:
        """Blocks until it ends, or for as many seconds.

        Raises:
            TimeoutError: It goes on.
            GatepostError: What ended it.

        """
        try:
            self._work.result(timeout)
        except CancelledError:
            return
        # Before Python 3.11 they are not the same.
        except _FutureTimeoutError as error:
            raise TimeoutError("it goes on") from error

    def close(self) -> None:
        """Ends it. A callback that is running runs to its end."""
        self._work.cancel()

    def __enter__(self) -> Follower:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _report(work: Future[None]) -> None:
    """Says what nobody may be there to see."""
    if not work.cancelled() and (error := work.exception()):
        log.error("following gates ended: %s", error)


def refuse_async(function: Callable[..., object]) -> None:
    """Refuses a function whose result nobody here awaits: a rule would say yes by merely being called."""
    if inspect.iscoroutinefunction(function):
        raise _asynchronous(function)


def _plain_result(function: Callable[..., object], result: T) -> T:
    """Refuses what only an event loop could wait for."""
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise _asynchronous(function)
    return result


def _asynchronous(function: Callable[..., object]) -> TypeError:
    return TypeError(f"{function} is asynchronous: give a plain function, or use AsyncClient")


def _in_thread(function: Callable[..., T]) -> Callable[..., Coroutine[Any, Any, T]]:
    """Makes a function one that runs in a thread of its own, so that it may block."""
    refuse_async(function)

    async def call(*args: Any) -> T:
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()

        def work() -> None:
            try:
                done.set_result(_plain_result(function, function(*args)))
            except Exception as error:  # noqa: BLE001
                done.set_exception(error)
            except BaseException as error:  # noqa: BLE001
                # As it is, it would end the loop of everybody.
                done.set_exception(RuntimeError(f"{function} ended with {error!r}"))

        # A daemon, so that the process can end.
        threading.Thread(target=work, name="gatepost callback", daemon=True).start()
        return await asyncio.wrap_future(done)

    return call
