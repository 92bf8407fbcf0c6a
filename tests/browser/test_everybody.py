"""That everybody can use the pages: by keyboard, on a phone, with a screen reader, in the dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import GATE, button, card, comment, point_at
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Browsers, Coordinator
    from playwright.sync_api import Page, Route


def test_it_can_be_done_with_the_keyboard_alone(coordinator: Coordinator, page: Page):
    coordinator.make_all_wait(["a"])
    coordinator.make_wait("b")
    expect(card(page, "b")).to_be_in_viewport()
    page.get_by_label("Text").focus()
    for target in (
        card(page, "a").get_by_role("link"),
        comment(page, "a"),
        button(page, "Approve", "a"),
        button(page, "Reject", "a"),
        card(page, "b").get_by_role("link"),
        comment(page, "b"),
    ):
        page.keyboard.press("Tab")
        expect(target).to_be_focused()
    # The list changes, and the focus stays.
    coordinator.run("approve", "a")
    expect(card(page, "a")).to_have_count(0)
    expect(comment(page, "b")).to_be_focused()
    page.keyboard.type("fine")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    # What has become of it has the focus, since the button is gone.
    expect(card(page, "b").locator(".outcome")).to_be_focused()
    expect(page.get_by_role("log")).to_contain_text("b: You have approved it.")
    expect(page.get_by_role("log")).to_contain_text("No gate waits")
    assert coordinator.gate("b")["resolution"]["reason"] == "fine"


def test_a_phone_has_no_need_to_scroll_sideways(coordinator: Coordinator, browsers: Browsers):
    long = "/".join(["x" * 63] * 3)
    coordinator.make_wait(long, title="W" * 200, description="y" * 400, subject={"uri": "z" * 300, "digest": "d" * 200})
    coordinator.make_wait(GATE, timeout="600s", labels={f"label-{n}": "value" * 9 for n in range(16)})
    phone = browsers.open(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
    expect(phone.locator("li.gate")).to_have_count(2)
    scrolls = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not phone.evaluate(scrolls)
    button(phone, "Approve", GATE).tap()
    expect(card(phone, GATE)).to_contain_text("You have approved it.")
    for name in (GATE, long):
        phone.goto(f"/gates/{name}")
        expect(phone.locator(".history")).to_be_visible()
        assert not phone.evaluate(scrolls)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(coordinator: Coordinator, browsers: Browsers, scheme: str):
    coordinator.worker(
        GATE, "--timeout", "50s", "--title", "Release 42", "--label", "a=b", "--link", "c=https://d.example"
    )
    coordinator.make_wait(
        "a", requiredApprovals=2, description="Text", subject={"uri": "https://a.example", "digest": "b"}
    )
    coordinator.run("approve", "a", "--comment", "fine")
    coordinator.make_wait("b")
    # The checker is a script that the pages' policy refuses.
    page = browsers.open(color_scheme=scheme, bypass_csp=True)
    point_at(page, "b")
    coordinator.run("reject", "b", "--reason", "red")
    expect(card(page, "b").locator(".outcome")).to_be_visible()
    button(page, "Reject", GATE).click()
    _has_no_violations(page)
    page.goto("/gates/b")
    expect(page.locator(".history")).to_be_visible()
    _has_no_violations(page)
    page.get_by_role("button", name="Reset…").click()
    _has_no_violations(page)


def _has_no_violations(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_nothing_is_said_of_identities_where_nobody_is_asked(browsers: Browsers):
    page = browsers.open()
    for hidden in (page.locator("#who"), page.locator("#insecure"), page.get_by_text("that you may see")):
        expect(hidden).to_be_hidden()


def test_a_server_that_nothing_protects_says_so(browsers: Browsers):
    page = browsers.open()

    def open_to_all(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"insecure": True})

    page.route("**/v1/session", open_to_all)
    page.reload()
    expect(page.get_by_role("note")).to_contain_text("everybody who reaches it can decide every gate")
