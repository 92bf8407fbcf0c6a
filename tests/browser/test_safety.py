"""What a page never does. That it asks no other host and breaks no policy is held by every test: see `Watched`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conftest import GATE, button, card, comment
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Browsers, Coordinator
    from playwright.sync_api import Page


def test_a_script_in_a_text_stays_text(coordinator: Coordinator, page: Page):
    script = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
    links = [{"title": script[:64], "url": "https://a.example/%22%3E%3Cscript%3E"}]
    about = {"uri": "javascript:document.title='run'", "digest": script}
    coordinator.make_wait("a", title=script, description=script, labels={"a": script}, links=links, subject=about)
    shown = card(page, "a")
    expect(shown.get_by_role("heading")).to_have_text(re.compile(re.escape(script)))
    # What is no web page is no link.
    expect(shown.get_by_text("javascript:")).to_be_visible()
    expect(shown.locator("a[href^=javascript]")).to_have_count(0)
    comment(page, "a").fill(script)
    button(page, "Reject", "a").click()
    expect(shown.locator(".outcome")).to_contain_text(script)
    expect(page).to_have_title("gatepost")

    page.goto("/gates/a")
    expect(page.locator(".history")).to_contain_text(script)
    expect(page).to_have_title("a — gatepost")
    expect(page.locator("main script, main img")).to_have_count(0)


def test_looking_decides_nothing(coordinator: Coordinator, browsers: Browsers):
    coordinator.make_wait(GATE, title="Release 42")
    before = coordinator.get("/v1/events")
    page = browsers.open()
    sent = []
    page.on("request", lambda request: sent.append(request.method))
    card(page, GATE).get_by_role("link", name="Release 42").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(GATE)
    page.get_by_role("link", name="All gates").click()
    expect(card(page, GATE)).to_be_in_viewport()
    page.goto(f"/gates/{GATE}?approve=1&verb=approve")
    expect(page.locator(".history")).to_be_visible()
    assert set(sent) == {"GET"}
    assert coordinator.get("/v1/events") == before
