"""The page of one gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conftest import GATE, button, released
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Browsers, Coordinator
    from playwright.sync_api import Route


def test_the_page_of_a_gate_shows_its_rounds(coordinator: Coordinator, browsers: Browsers):
    coordinator.make_wait(GATE, title="Release 42", timeout="600s")
    coordinator.run("reject", GATE, "--reason", "canary is red")
    coordinator.run("reset", GATE)
    page = browsers.open(f"/gates/{GATE}")
    expect(page.get_by_role("heading", level=1)).to_have_text(GATE)
    rounds = page.locator(".history section")
    expect(rounds.nth(0)).to_contain_text("Round 2")
    expect(rounds.nth(0)).to_contain_text("Reset by anonymous: round 2 began")
    happened = ["Created by anonymous", "The first worker reached the gate", "Rejected by anonymous"]
    expect(rounds.nth(1).get_by_role("listitem")).to_contain_text(happened)
    expect(rounds.nth(1)).to_contain_text("canary is red")

    worker = coordinator.worker(GATE, "--id", "deploy-17")
    expect(page.get_by_role("list", name="Who waits")).to_contain_text("deploy-17")
    expect(rounds.nth(0).get_by_role("listitem")).to_have_count(2)
    coordinator.run("approve", GATE, "--comment", "green", "--input", 'canary={"percent": 5}')
    assert released(worker) == 0
    expect(page.locator(".outcome")).to_contain_text("Approved by anonymous")
    expect(page.locator("pre")).to_contain_text('"percent": 5')
    expect(rounds.nth(0).get_by_role("listitem")).to_have_count(3)

    page.get_by_role("button", name="Reset…").click()
    page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    expect(rounds).to_have_count(3)
    expect(button(page, "Approve", GATE)).to_be_visible()
    assert coordinator.gate(GATE)["round"] == 3
    # What is said of a decision is said of its round.
    button(page, "Approve", GATE).click()
    expect(page.get_by_text("You have approved it.", exact=True)).to_be_visible()
    coordinator.run("reset", GATE)
    expect(button(page, "Approve", GATE)).to_be_visible()
    expect(page.get_by_text("You have approved it.", exact=True)).to_be_hidden()


def test_the_evidence_of_a_decision_is_shown(coordinator: Coordinator, browsers: Browsers):
    coordinator.make_wait(GATE)
    page = browsers.open(f"/gates/{GATE}")
    expect(page.get_by_role("heading", name="Evidence")).to_be_hidden()

    def add_evidence(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"evidence": {"p99": "41 ms", "tests": {"passed": 812}}})

    page.route("**/v1/gates/*prod", add_evidence)
    page.reload()
    expect(page.get_by_role("row", name="p99 41 ms")).to_be_visible()
    expect(page.get_by_role("row", name='tests {"passed":812}')).to_be_visible()


def test_a_page_of_nothing_says_so_and_shows_the_gate_once_it_is_there(coordinator: Coordinator, browsers: Browsers):
    page = browsers.open(f"/gates/{GATE}")
    expect(page.get_by_role("alert")).to_have_text(f"There is no gate {GATE}.")
    coordinator.worker(GATE, "--timeout", "5m")
    expect(button(page, "Approve", GATE)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    # What is below it has a page of its own.
    coordinator.make_wait(f"{GATE}/below")
    coordinator.run("delete", GATE)
    expect(page.locator(".outcome")).to_contain_text("Deleted undecided by anonymous")
    expect(page.locator(".history")).to_contain_text("Deleted by anonymous")
    page.reload()
    expect(page.locator(".outcome")).to_contain_text("Deleted undecided by anonymous")
    expect(button(page, "Approve", GATE)).to_be_hidden()
