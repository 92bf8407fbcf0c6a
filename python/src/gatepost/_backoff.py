"""How long to pause before trying again. Random parts keep many workers from returning at the same moment."""

from __future__ import annotations

import asyncio
import logging
import random

from gatepost.errors import UnavailableError

PAUSE_MIN = 0.1
"""Seconds of the first pause: long enough for a process to be replaced, too short for a person to notice."""
PAUSE_MAX = 5.0
"""Seconds of the longest pause, before its random part doubles it at most."""

log = logging.getLogger("gatepost")


class Pauses:
    """Pauses that grow, and never end."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begins anew: there was an answer."""
        self._next = PAUSE_MIN

    def next(self) -> float:
        """Returns for how many seconds to pause now."""
        pause = self._next
        self._next = min(pause * 2, PAUSE_MAX)
        return pause * random.uniform(1, 2)  # noqa: S311


def no_sooner(error: Exception, seconds: float) -> float:
    """Returns for how many seconds to pause after an error: no shorter than the coordinator asks for."""
    return max(seconds, error.retry_after) if isinstance(error, UnavailableError) else seconds


async def pause(seconds: float, what: str, error: Exception) -> None:
    """Pauses before the next connection, and says why: a person may wonder why nothing happens."""
    log.warning("%s is disconnected, and tries again in %.1f s: %s", what, seconds, error)
    await asyncio.sleep(seconds)
