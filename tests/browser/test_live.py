"""A page that stays open: through a server that goes away, another store, and being hidden."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conftest import button, card, comment
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Coordinator
    from playwright.sync_api import Page


def test_it_says_when_it_lost_the_server_and_catches_up(coordinator: Coordinator, page: Page):
    coordinator.make_all_wait(["a", "b"])
    expect(card(page, "b")).to_be_visible()
    comment(page, "b").fill("half a sen")
    coordinator.kill()
    expect(page.locator("#connection")).to_have_text(re.compile("^Lost the server"))
    expect(card(page, "b")).to_be_visible()

    coordinator.restart()
    # By another way than the page's, so that it has to catch up.
    coordinator.run("approve", "a")
    coordinator.make_wait("c")
    expect(page.locator("#connection")).to_have_text("Live")
    expect(card(page, "c")).to_be_visible()
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
    expect(card(page, "b")).to_be_visible()
    page.evaluate(hide, True)
    expect(page.locator("#connection")).to_have_text("Paused")
    coordinator.run("approve", "a")
    coordinator.make_wait("c")
    page.evaluate(hide, False)
    expect(page.locator("#connection")).to_have_text("Live")
    expect(card(page, "c")).to_be_visible()
    expect(card(page, "a").locator(".outcome")).to_contain_text("Approved")


def test_another_store_is_shown_from_its_start(coordinator: Coordinator, page: Page, tmp_path):
    coordinator.make_all_wait(["a", "b", "c"])
    expect(card(page, "c")).to_be_visible()
    coordinator.kill()
    coordinator.restart(tmp_path / "other")
    coordinator.make_wait("d")
    expect(card(page, "d")).to_be_visible()
    expect(page.locator("li.gate")).to_have_count(1)
