"""Approve and Reject: what they do, and what is said of how it went."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from conftest import GATE, button, card, comment, point_at, released
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Browsers, Coordinator
    from playwright.sync_api import Page, Route


def test_approve_releases_the_worker(coordinator: Coordinator, page: Page):
    worker = coordinator.worker(GATE, "--timeout", "5m")
    comment(page, GATE).fill("canary is green")
    button(page, "Approve", GATE).click()
    assert released(worker) == 0
    expect(card(page, GATE)).to_contain_text("Approved by anonymous")
    expect(card(page, GATE)).to_contain_text("You have approved it.")
    expect(button(page, "Approve", GATE)).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_have_text("No gate waits")
    resolution = coordinator.gate(GATE)["resolution"]
    assert (resolution["reason"], resolution["by"]) == ("canary is green", "anonymous")
    # It goes by itself, once nobody points at it.
    page.mouse.move(0, 0)
    expect(card(page, GATE)).to_have_count(0)


def test_reject_asks_for_a_reason(coordinator: Coordinator, page: Page):
    worker = coordinator.worker(GATE, "--timeout", "5m")
    button(page, "Reject", GATE).click()
    expect(card(page, GATE)).to_contain_text("Say why")
    expect(comment(page, GATE)).to_be_focused()
    expect(comment(page, GATE)).to_have_attribute("aria-invalid", "true")
    button(page, "Reject", GATE).click()
    assert coordinator.gate(GATE)["status"] == "GATE_STATUS_WAITING"

    page.keyboard.type("canary is red")
    button(page, "Reject", GATE).click()
    assert released(worker) == 10
    expect(card(page, GATE)).to_contain_text("Rejected by anonymous")
    assert coordinator.gate(GATE)["resolution"]["reason"] == "canary is red"


def test_a_second_browser_sees_it_at_once(coordinator: Coordinator, browsers: Browsers):
    first, second = browsers.open(), browsers.open()
    coordinator.worker(GATE, "--timeout", "5m")
    point_at(second, GATE)
    comment(first, GATE).fill("fine")
    button(first, "Approve", GATE).click()
    expect(card(second, GATE).locator(".outcome")).to_have_text(re.compile(r"^Approved by anonymous .*: fine$"))
    expect(button(second, "Approve", GATE)).to_be_hidden()
    expect(second.get_by_role("heading", level=1)).to_have_text("No gate waits")


def test_buttons_are_disabled_while_a_decision_is_on_its_way(coordinator: Coordinator, page: Page):
    coordinator.make_wait(GATE)
    held: list[Route] = []
    page.route("**/*:approve", lambda route: held.append(route))
    button(page, "Approve", GATE).click()
    for verb in ("Approve", "Reject"):
        expect(button(page, verb, GATE)).to_be_disabled()
    expect(card(page, GATE)).to_contain_text("Sending")
    held[0].continue_()
    expect(card(page, GATE)).to_contain_text("You have approved it.")
    assert len(held) == 1


def test_whoever_is_late_is_told_who_was_faster(coordinator: Coordinator, page: Page):
    coordinator.make_wait(GATE)

    def somebody_rejects(route: Route) -> None:
        coordinator.run("reject", GATE, "--reason", "canary is red")
        route.continue_()

    page.route("**/*:approve", somebody_rejects)
    button(page, "Approve", GATE).click()
    told = r"Somebody was faster\. Rejected by anonymous .*canary is red"
    expect(card(page, GATE).locator(".message")).to_have_text(re.compile(told))
    expect(card(page, GATE).locator(".outcome")).to_contain_text("Rejected by anonymous")


def test_what_has_changed_is_not_decided_unseen(coordinator: Coordinator, page: Page):
    coordinator.make_wait(GATE, requiredApprovals=2)

    def somebody_votes(route: Route) -> None:
        coordinator.run("approve", GATE, "--comment", "looks good")
        route.continue_()

    page.route("**/*:reject", somebody_votes, times=1)
    comment(page, GATE).fill("canary is red")
    button(page, "Reject", GATE).click()
    expect(card(page, GATE)).to_contain_text("The gate has changed since you looked")
    expect(card(page, GATE)).to_contain_text("1 of 2 approvals")
    expect(card(page, GATE).get_by_role("list", name="Votes")).to_contain_text("looks good")
    assert coordinator.gate(GATE)["status"] == "GATE_STATUS_WAITING"
    # What was typed is kept, and is sent once it was looked at again.
    expect(comment(page, GATE)).to_have_value("canary is red")
    button(page, "Reject", GATE).click()
    expect(card(page, GATE)).to_contain_text("You have rejected it.")


def test_a_decision_names_what_was_looked_at(coordinator: Coordinator, page: Page):
    coordinator.make_wait(GATE, subject={"uri": "oci://app", "digest": "sha256:4f2a"})
    etag = coordinator.gate(GATE)["etag"]
    with page.expect_request("**/*:approve") as sent:
        button(page, "Approve", GATE).click()
    body = sent.value.post_data_json
    assert (body["round"], body["etag"], body["subjectDigest"]) == (1, etag, "sha256:4f2a")
    assert re.fullmatch("[0-9a-f]{32}", body["requestId"])


def test_a_decision_whose_answer_is_lost_counts_once(coordinator: Coordinator, page: Page):
    coordinator.make_wait(GATE, requiredApprovals=2)
    bodies = []

    def lose_the_answer(route: Route) -> None:
        bodies.append(route.request.post_data_json)
        route.fetch()
        route.abort()

    page.route("**/*:approve", lose_the_answer, times=1)
    page.on("request", lambda sent: bodies.append(sent.post_data_json) if sent.url.endswith(":approve") else None)
    button(page, "Approve", GATE).click()
    expect(card(page, GATE)).to_contain_text("Your approval is recorded: 1 of 2 approvals.")
    assert len({json.dumps(body) for body in bodies}) == 1
    assert len(coordinator.gate(GATE)["votes"]) == 1


def test_a_decision_made_while_the_server_is_away_arrives_after_it_is_back(coordinator: Coordinator, page: Page):
    coordinator.make_wait(GATE)
    expect(card(page, GATE)).to_be_in_viewport()
    coordinator.kill()
    expect(page.locator("#connection")).to_have_text(re.compile("^Lost the server"))
    button(page, "Approve", GATE).click()
    expect(card(page, GATE)).to_contain_text("The server does not answer")
    coordinator.restart()
    expect(card(page, GATE)).to_contain_text("You have approved it.")
