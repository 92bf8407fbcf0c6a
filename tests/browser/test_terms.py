"""Who decides a gate, from when on, and what silence means: shown, and said when it is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conftest import GATE, button, card, point_at
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Browsers, Coordinator
    from playwright.sync_api import Page


def test_a_gate_shows_whom_it_waits_for_and_what_silence_means(coordinator: Coordinator, browsers: Browsers):
    coordinator.make_wait(
        GATE,
        timeout="3600s",
        requiredApprovals=2,
        approvers=["anonymous", "group:release-managers"],
        minWait="1800s",
        onTimeout="ON_TIMEOUT_REJECT",
        forbidRequester=False,
    )
    page = browsers.open()
    expect(card(page, GATE)).to_contain_text("0 of 2 approvals, waiting for anonymous and group:release-managers")
    expect(card(page, GATE)).to_contain_text(re.compile(r"An approval counts in (30:00|29:\d\d)\."))
    expect(card(page, GATE)).to_contain_text(re.compile(r"\d\d:\d\d left, then rejected"))

    button(page, "Approve", GATE).click()
    expect(card(page, GATE).locator(".message")).to_have_text(re.compile(r"^It is too early: an approval counts from "))

    page = browsers.open(f"/gates/{GATE}")
    facts = page.locator("dl")
    for fact in [
        "3600 seconds from the first wait, then it is rejected",
        "1800 seconds from the first wait",
        "anonymous, group:release-managers",
        "allowed",
    ]:
        expect(facts).to_contain_text(fact)
    expect(page.locator(".history")).to_contain_text("The first worker reached the gate; it is rejected at")


def test_a_vote_is_shown_with_who_is_still_awaited(coordinator: Coordinator, page: Page):
    coordinator.make_wait(GATE, requiredApprovals=2, approvers=["anonymous", "group:release-managers"])
    button(page, "Approve", GATE).click()
    awaited = "1 of 2 approvals, waiting for group:release-managers"
    expect(card(page, GATE).locator(".message")).to_have_text(f"Your approval is recorded: {awaited}.")
    expect(card(page, GATE).get_by_role("list", name="Votes")).to_contain_text("anonymous approved")


def test_whoever_may_not_decide_is_told_why(coordinator: Coordinator, page: Page):
    coordinator.make_wait("others", approvers=["alice", "group:release-managers"])
    coordinator.make_wait("own", forbidRequester=True)
    coordinator.create("early", minWait="60s")
    button(page, "Approve", "others").click()
    who = "You (anonymous) are none of those who decide this gate: alice, group:release-managers."
    expect(card(page, "others").locator(".message")).to_have_text(who)
    button(page, "Approve", "own").click()
    told = "You (anonymous) asked for this gate: somebody else has to approve it."
    expect(card(page, "own").locator(".message")).to_have_text(told)
    page.get_by_role("radio", name="Pending").check()
    expect(card(page, "early")).to_contain_text("An approval counts once somebody has waited for 1m.")
    button(page, "Approve", "early").click()
    expect(card(page, "early").locator(".message")).to_have_text(re.compile("^It is too early"))


def test_a_broken_glass_and_a_silence_are_shown_as_what_they_are(coordinator: Coordinator, browsers: Browsers):
    page = browsers.open()
    coordinator.make_wait(GATE, approvers=["alice"])
    point_at(page, GATE)
    coordinator.run("approve", GATE, "--break-glass", "the site is down")
    told = re.compile(r"^Approved by anonymous, breaking the glass .*: the site is down$")
    expect(card(page, GATE).locator(".outcome")).to_have_text(told)
    page = browsers.open(f"/gates/{GATE}")
    expect(page.locator(".history")).to_contain_text("breaking the glass")

    coordinator.make_wait("silent", timeout="0.05s", onTimeout="ON_TIMEOUT_APPROVE")
    page = browsers.open("/gates/silent")
    expect(page.locator(".outcome")).to_have_text(re.compile("^Approved .*: nobody decided within"))
