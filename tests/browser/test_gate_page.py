"""The page of one gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conftest import GATE, button, released
from playwright.sync_api import expect

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Browsers, Coordinator


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


def test_a_reset_that_somebody_else_made_is_not_made_again(coordinator: Coordinator, browsers: Browsers):
    coordinator.make_wait(GATE)
    coordinator.run("approve", GATE)
    page = browsers.open(f"/gates/{GATE}")
    page.get_by_role("button", name="Reset…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    coordinator.run("reset", GATE)
    expect(dialog).to_be_hidden()
    # An answer that is lost: the same reset is asked for again, and the reset of a later round is another one.
    coordinator.run("approve", GATE)
    page.route("**/*:reset", lambda route: (route.fetch(), route.abort()))
    page.get_by_role("button", name="Reset…").click()
    dialog.get_by_role("button", name="Reset").click()
    expect(page.locator(".history section").nth(0)).to_contain_text("Round 3")
    page.unroute("**/*:reset")
    coordinator.run("approve", GATE)
    page.get_by_role("button", name="Reset…").click()
    dialog.get_by_role("button", name="Reset").click()
    expect(page.locator(".history section").nth(0)).to_contain_text("Round 4")


RULE = """
[[rule]]
name = "canary-is-green"
when = "'canary' in evidence && evidence.canary == 'green'"
action = "approve"
"""


def test_evidence_is_shown_as_it_comes_and_a_rule_is_named(
    browsers: Browsers, coordinator: Coordinator, tmp_path: Path
):
    configuration = tmp_path / "gatepost.toml"
    configuration.write_text(RULE)
    coordinator.kill()
    coordinator.restart(flags=["--config", configuration])
    worker = coordinator.worker(GATE, "--timeout", "5m")
    page, cards = browsers.open(f"/gates/{GATE}"), browsers.open()
    expect(page.get_by_role("list", name="Evidence")).to_be_hidden()
    coordinator.run("evidence", GATE, "tests=failed", "p99=<b>41 ms</b>")
    coordinator.run("evidence", GATE, "tests=passed")
    for each in (page, cards):
        expect(each.get_by_role("list", name="Evidence").get_by_role("listitem")).to_have_text(
            ["p99 <b>41 ms</b>", "tests passed"]
        )
    expect(page.locator(".history")).to_contain_text("Evidence by anonymous: p99=<b>41 ms</b>, tests=failed")
    coordinator.run("evidence", GATE, "canary=green")
    assert released(worker) == 0
    expect(page.locator(".outcome")).to_contain_text("Approved by the rule")
    expect(page.locator(".outcome")).to_contain_text("canary-is-green")


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
