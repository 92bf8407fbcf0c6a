"""Whose turn it is: in which order the endpoints of one call, wait or watch are tried, and with what pauses. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatepost._backoff import Pauses, no_sooner

if TYPE_CHECKING:
    from collections.abc import Sequence


class Turns:
    """Rounds over all endpoints.

    Within a round the next one is tried at once; a pause comes between rounds, so that each endpoint is asked no more
    often than it would be if it were the only one.
    """

    def __init__(self, order: Sequence[int]) -> None:
        self._order = order
        self._at = 0
        self._left = len(order) - 1
        self._pauses = Pauses()

    @classmethod
    def of_call(cls, first: int, count: int) -> Turns:
        """Takes the endpoints in their order, that of the last answer first."""
        return cls([(first + turn) % count for turn in range(count)])

    @classmethod
    def of_stream(cls, nth: int, count: int) -> Turns:
        """Takes them in the order of a client's nth stream.

        Successive streams begin at successive endpoints, and those that begin at the same one go on at different ones:
        when it is gone, all others share what was there.
        """
        first, *others = ((nth + turn) % count for turn in range(count))
        shift = nth // count % max(len(others), 1)
        return cls([first, *others[shift:], *others[:shift]])

    @property
    def current(self) -> int:
        """The endpoint whose turn it is."""
        return self._order[self._at]

    @property
    def is_last(self) -> bool:
        """Whether this is the last turn of a round."""
        return self._left == 0

    def on_answer(self) -> None:
        """Notes that an endpoint answered: pauses begin anew."""
        self._pauses.reset()

    def next(self, error: Exception) -> float:
        """Goes on to the next endpoint, and returns for how many seconds to pause before."""
        self._at = (self._at + 1) % len(self._order)
        if self._left:
            self._left -= 1
            return no_sooner(error, 0.0)
        self._left = len(self._order) - 1
        return no_sooner(error, self._pauses.next())
