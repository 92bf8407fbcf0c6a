"""The list of gates: what it shows, of how many, and which."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conftest import GATE, button, card, comment, point_at
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Browsers, Coordinator
    from playwright.sync_api import Page, Route


def test_a_gate_appears_when_a_worker_waits(coordinator: Coordinator, page: Page):
    expect(page.get_by_role("heading", level=1)).to_have_text("No gate waits")
    worker = ["--id", "deploy-17", "--note", "job 9", "--timeout", "5m", "--required-approvals", "2"]
    told = ["--title", "Release 42 to production", "--description", "Canary is green.\nTwo regions."]
    about = ["--subject-uri", "https://registry.example/app", "--subject-digest", "sha256:4f2a"]
    more = ["--label", "team=payments", "--link", "Dashboards=https://grafana.example/d/1"]
    coordinator.worker(GATE, *worker, *told, *about, *more)

    expect(page.get_by_role("heading", level=1)).to_have_text("1 gate waits")
    expect(page).to_have_title("(1) gatepost")
    shown = card(page, GATE)
    expect(shown.get_by_role("link", name="Release 42 to production")).to_have_attribute("href", f"/gates/{GATE}")
    for text in (GATE, "Canary is green.", "team payments", "sha256:4f2a", "0 of 2 approvals"):
        expect(shown).to_contain_text(text)
    expect(shown.get_by_role("list", name="Who waits")).to_contain_text(re.compile(r"deploy-17.*\(job 9\), came "))
    expect(shown.locator(".clock")).to_have_text(re.compile(r"^[45]:\d\d left$"))
    link = shown.get_by_role("link", name="Dashboards")
    expect(link).to_have_attribute("href", "https://grafana.example/d/1")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_a_deadline_passes_in_sight(coordinator: Coordinator, page: Page):
    coordinator.make_wait(GATE, timeout="20s")
    point_at(page, GATE)
    expect(card(page, GATE).locator(".clock")).to_have_class(re.compile("urgent"))
    expect(card(page, GATE).locator(".clock")).to_have_text(re.compile(r"^0:[0-2]\d left$"))
    expect(card(page, GATE).locator(".outcome")).to_have_text(re.compile("^Timed out .*: nobody decided within 20s$"))
    expect(button(page, "Approve", GATE)).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_have_text("No gate waits")


def test_a_thousand_gates_wait(coordinator: Coordinator, browsers: Browsers):
    coordinator.make_all_wait(f"fleet/host-{number:04}" for number in range(1000))
    page = browsers.open()
    expect(page.get_by_role("heading", level=1)).to_have_text("1000 gates wait")
    expect(page.locator("li.gate")).to_have_count(1000)
    since = page.evaluate(
        """async () => (await (await fetch("/v1/gates?page_size=1000")).json()).gates
             .sort((a, b) => Date.parse(a.waitTime) - Date.parse(b.waitTime) || (a.name < b.name ? -1 : 1))
             .map((gate) => gate.name)"""
    )
    assert page.locator("li.gate").evaluate_all("cards => cards.map((card) => card.dataset.name)") == since

    last = since[-1]
    comment(page, last).fill("the last one")
    button(page, "Approve", last).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("999 gates wait")
    assert coordinator.gate(last)["resolution"]["reason"] == "the last one"
    page.get_by_label("Text").fill("host-0417")
    expect(page.get_by_role("heading", level=1)).to_have_text("1 of 999 gates wait")
    expect(page.locator("li.gate")).to_have_count(1)


def test_filters_by_prefix_status_and_text(coordinator: Coordinator, page: Page):
    coordinator.make_all_wait(["release-42/web", "release-42/db", "release-421/web"])
    coordinator.create("release-42/later", title="Not yet")
    coordinator.make_wait("release-42/done")
    coordinator.run("approve", "release-42/done", "--comment", "ok")
    cards = page.locator("li.gate")
    expect(cards).to_have_count(3)

    page.get_by_label("Prefix").fill("release-42/")
    expect(card(page, "release-421/web")).to_have_count(0)
    page.get_by_label("Text").fill("GATE db")
    expect(cards).to_have_count(1)
    expect(card(page, "release-42/db")).to_be_visible()
    page.get_by_label("Text").fill("")

    page.get_by_label("Pending").check()
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text("Not yet")
    page.get_by_label("Approved").check()
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text("Approved by anonymous")
    expect(page).to_have_url(re.compile(r"/\?status=approved&prefix=release-42$"))

    # The address leads to the same; and what happens is seen there too.
    page.reload()
    expect(cards).to_have_count(1)
    expect(page.get_by_label("Prefix")).to_have_value("release-42")
    coordinator.run("approve", "release-42/db")
    expect(cards).to_have_count(2)
    page.get_by_label("Prefix").fill("no such/-")
    expect(page.get_by_role("alert")).to_contain_text("prefix")


def test_decided_gates_come_a_page_at_a_time(coordinator: Coordinator, browsers: Browsers):
    for number in range(130):
        coordinator.create(f"old/{number:03}", autoApprove=True)
    page = browsers.open("/?status=approved")
    expect(page.locator("li.gate")).to_have_count(100)
    expect(page.get_by_role("heading", level=1)).to_have_text("100 gates approved, and more")
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("li.gate")).to_have_count(130)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_a_page_without_gates_is_not_the_end(coordinator: Coordinator, browsers: Browsers):
    coordinator.create("rare")
    coordinator.run("reject", "rare")
    page = browsers.open("/")
    asked = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        # As a store does that has looked at many others.
        empty = {"gates": [], "nextPageToken": "rard", "revision": "1"}
        route.fulfill(json=empty) if len(asked) == 1 else route.continue_()

    page.route("**/v1/gates?*REJECTED*", answer)
    page.get_by_role("radio", name="Rejected").check()
    expect(card(page, "rare")).to_be_visible()
    assert "page_token=rard" in asked[1]
