"""How long to pause before trying again. Random parts keep many workers from returning at the same moment."""

from __future__ import annotations

import asyncio
import logging
import random
import time

PAUSE_MIN = 0.1
"""Seconds of the first pause: long enough for a process to be replaced, too short for a person to notice."""
PAUSE_MAX = 5.0
"""Seconds of the longest pause of a wait or a watch, before its random part doubles it at most."""
CALL_SECONDS_MAX = 2.0
"""Seconds after which a call is not tried again: a person looks at the prompt."""


log = logging.getLogger("gatepost")


class Pauses:
    """The pauses between the connections of a wait or a watch, which never give up."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begins anew: the connection was good."""
        self._next = PAUSE_MIN

    def next(self) -> float:
        """Returns for how many seconds to pause now."""
        pause = self._next
        self._next = min(pause * 2, PAUSE_MAX)
        return pause * random.uniform(1, 2)  # noqa: S311

    async def sleep(self, what: str, error: Exception) -> None:
        """Pauses before the next connection, and says why: a person may wonder why nothing happens."""
        seconds = self.next()
        log.warning("%s is disconnected, and tries again in %.1f s: %s", what, seconds, error)
        await asyncio.sleep(seconds)


class CallPauses:
    """The pauses between the attempts of one call, which end."""

    def __init__(self) -> None:
        self._pauses = Pauses()
        self._end = time.monotonic() + CALL_SECONDS_MAX

    def next(self) -> float | None:
        """Returns for how many seconds to pause now, or none where there is no time left to try again."""
        pause = self._pauses.next()
        return pause if time.monotonic() + pause < self._end else None
