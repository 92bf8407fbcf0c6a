"""A page that stays open: through a server that goes away, another store, and being hidden."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from conftest import button, card, comment, point_at
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Coordinator
    from playwright.sync_api import Page


@contextmanager
def away(coordinator: Coordinator, page: Page) -> Iterator[None]:
    """Ends the coordinator, and keeps the page from one that is started until the end of the block."""
    page.route("**/v1/watch*", lambda route: route.abort())
    coordinator.kill()
    expect(page.locator("#connection")).to_have_text(re.compile("^Lost the server"))
    yield
    page.unroute("**/v1/watch*")


def test_it_says_when_it_lost_the_server_and_catches_up(coordinator: Coordinator, page: Page):
    coordinator.make_all_wait(["a", "b"])
    expect(card(page, "b")).to_be_in_viewport()
    comment(page, "b").fill("half a sen")
    point_at(page, "a")
    with away(coordinator, page):
        expect(card(page, "b")).to_be_in_viewport()
        coordinator.restart()
        coordinator.run("approve", "a")
        coordinator.make_wait("c")
    expect(page.locator("#connection")).to_have_text("Live")
    expect(card(page, "c")).to_be_in_viewport()
    expect(card(page, "a").locator(".outcome")).to_contain_text("Approved")
    # Nothing was drawn anew that did not change.
    expect(comment(page, "b")).to_have_value("half a sen")
    button(page, "Approve", "b").click()
    expect(card(page, "b")).to_contain_text("You have approved it.")


def test_a_hidden_page_lets_go_and_catches_up_when_it_is_shown(coordinator: Coordinator, page: Page):
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    coordinator.make_all_wait(["a", "b"])
    expect(card(page, "b")).to_be_in_viewport()
    point_at(page, "a")
    page.evaluate(hide, True)
    expect(page.locator("#connection")).to_have_text("Paused")
    coordinator.run("approve", "a")
    coordinator.make_wait("c")
    page.evaluate(hide, False)
    expect(page.locator("#connection")).to_have_text("Live")
    expect(card(page, "c")).to_be_in_viewport()
    expect(card(page, "a").locator(".outcome")).to_contain_text("Approved")


def test_another_store_is_shown_from_its_start(coordinator: Coordinator, page: Page, tmp_path):
    coordinator.make_all_wait(["a", "b", "c"])
    expect(card(page, "c")).to_be_in_viewport()
    others = ["d", "e", "f", "g", "h"]
    with away(coordinator, page):
        # It has more revisions than the page has seen of the first, so that these say nothing.
        coordinator.restart(tmp_path / "other")
        coordinator.make_all_wait(others)
    expect(page.locator("li.gate")).to_have_count(len(others))
    for name in others:
        expect(card(page, name)).to_be_visible()


def test_a_store_that_is_behind_is_shown_from_its_start(coordinator: Coordinator, page: Page, tmp_path):
    coordinator.make_all_wait(["a", "b", "c"])
    expect(card(page, "c")).to_be_in_viewport()
    with away(coordinator, page):
        coordinator.restart(tmp_path / "other")
        coordinator.make_wait("d")
    expect(page.locator("li.gate")).to_have_count(1)
    expect(card(page, "d")).to_be_in_viewport()
