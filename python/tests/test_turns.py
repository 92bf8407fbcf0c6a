"""In which order endpoints are asked, and with what pauses."""

from __future__ import annotations

from collections import Counter

import pytest

from gatepost import UnavailableError
from gatepost._backoff import PAUSE_MAX, Pauses
from gatepost._turns import Turns

GONE = UnavailableError("gone")


def told(turns, count):
    """The next turns, and whether each comes after a pause."""
    steps = []
    for _ in range(count):
        paused = turns.next(GONE) > 0
        steps.append((turns.current, paused))
    return steps


def test_pauses_grow_to_a_bound_and_begin_anew():
    pauses = Pauses()
    assert 0.1 <= pauses.next() <= 0.2
    later = [pauses.next() for _ in range(100)][10:]
    assert all(PAUSE_MAX <= pause <= 2 * PAUSE_MAX for pause in later)
    pauses.reset()
    assert pauses.next() <= 0.2


def test_each_endpoint_is_tried_once_before_there_is_a_pause():
    turns = Turns.of_call(1, 3)
    assert (turns.current, turns.is_last) == (1, False)
    assert told(turns, 2) == [(2, False), (0, False)]
    assert turns.is_last
    assert told(turns, 4) == [(1, True), (2, False), (0, False), (1, True)]


@pytest.mark.parametrize("turns", [Turns.of_call(0, 1), Turns.of_stream(7, 1)])
def test_one_endpoint_is_never_tried_again_without_a_pause(turns):
    assert turns.is_last
    assert told(turns, 3) == [(0, True)] * 3


def test_an_answer_makes_pauses_short_again():
    turns = Turns.of_call(0, 2)
    assert max(turns.next(GONE) for _ in range(20)) > 4
    turns.on_answer()
    assert turns.next(GONE) + turns.next(GONE) <= 0.2


def test_no_turn_comes_sooner_than_a_coordinator_asks_for():
    assert Turns.of_call(0, 2).next(UnavailableError("too many", "RATE_LIMITED", 9.0)) == 9.0


@pytest.mark.parametrize("count", range(1, 6))
def test_streams_are_spread_and_so_are_those_that_lose_their_endpoint(count):
    orders = []
    for nth in range(count * 60):
        turns = Turns.of_stream(nth, count)
        orders.append((turns.current, *(at for at, _ in told(turns, count - 1))))
    assert all(sorted(order) == list(range(count)) for order in orders)
    assert Counter(order[0] for order in orders) == dict.fromkeys(range(count), 60)
    if count > 1:
        seconds = Counter(order[:2] for order in orders)
        assert set(seconds.values()) == {60 // (count - 1)}
        assert len(seconds) == count * (count - 1)
