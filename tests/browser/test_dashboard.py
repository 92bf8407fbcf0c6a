"""The dashboard in a real browser, against a real coordinator and real workers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import eventually, released
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Browsers, Coordinator
    from playwright.sync_api import Locator, Page, Route

GATE = "release-42/prod"


def card(page: Page, name: str) -> Locator:
    """The card of a gate on the list."""
    return page.locator(f'li.gate[data-name="{name}"]')


def button(page: Page, verb: str, name: str) -> Locator:
    return page.get_by_role("button", name=f"{verb} {name}", exact=True)


def comment(page: Page, name: str) -> Locator:
    return page.get_by_role("textbox", name=f"Comment on {name}", exact=True)


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
    expect(card(second, GATE)).to_be_visible()
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


def test_a_decision_made_while_the_server_is_away_arrives_after_it_is_back(coordinator: Coordinator, page: Page):
    coordinator.make_wait(GATE)
    expect(card(page, GATE)).to_be_visible()
    coordinator.kill()
    expect(page.locator("#connection")).to_have_text(re.compile("^Lost the server"))
    button(page, "Approve", GATE).click()
    expect(card(page, GATE)).to_contain_text("The server does not answer")
    coordinator.restart()
    expect(card(page, GATE)).to_contain_text("You have approved it.")


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
    expect(cards).to_have_count(4)

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


def test_a_page_of_nothing_says_so_and_shows_the_gate_once_it_is_there(coordinator: Coordinator, browsers: Browsers):
    page = browsers.open(f"/gates/{GATE}")
    expect(page.get_by_role("alert")).to_have_text(f"There is no gate {GATE}.")
    coordinator.worker(GATE, "--timeout", "5m")
    expect(button(page, "Approve", GATE)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    # What is below it has a page of its own.
    coordinator.make_wait(f"{GATE}/below")
    coordinator.run("delete", GATE)
    expect(page.locator(".outcome")).to_have_text("Deleted")
    expect(page.locator(".history")).to_contain_text("Deleted by anonymous")
    page.reload()
    expect(page.locator(".outcome")).to_have_text("Deleted")


def test_it_can_be_done_with_the_keyboard_alone(coordinator: Coordinator, page: Page):
    coordinator.make_all_wait(["a"])
    coordinator.make_wait("b")
    expect(card(page, "b")).to_be_visible()
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
    expect(card(page, "a").locator(".outcome")).to_be_visible()
    expect(card(page, "a")).to_have_count(0)
    expect(comment(page, "b")).to_be_focused()
    page.keyboard.type("fine")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    # What has become of it has the focus, since the button is gone.
    expect(card(page, "b").locator(".outcome")).to_be_focused()
    expect(page.locator("#heard")).to_have_text(re.compile("You have approved it|No gate waits"))
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


def test_looking_decides_nothing(coordinator: Coordinator, browsers: Browsers):
    coordinator.make_wait(GATE, title="Release 42")
    before = coordinator.get("/v1/events")
    page = browsers.open()
    sent = []
    page.on("request", lambda request: sent.append(request.method))
    card(page, GATE).get_by_role("link", name="Release 42").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(GATE)
    page.get_by_role("link", name="All gates").click()
    expect(card(page, GATE)).to_be_visible()
    page.goto(f"/gates/{GATE}?approve=1&verb=approve")
    expect(page.locator(".history")).to_be_visible()
    assert set(sent) == {"GET"}
    assert coordinator.get("/v1/events") == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(coordinator: Coordinator, browsers: Browsers, scheme: str):
    coordinator.worker(GATE, "--timeout", "50s", "--title", "Release 42", "--label", "a=b", "--link", "c=https://d.example")
    coordinator.make_wait("a", requiredApprovals=2, description="Text", subject={"uri": "https://a.example", "digest": "b"})
    coordinator.run("approve", "a", "--comment", "fine")
    coordinator.make_wait("b")
    # The checker is a script that the pages' policy refuses.
    page = browsers.open(color_scheme=scheme, bypass_csp=True)
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


@pytest.mark.skipif("GATEPOST_TEST_SCREENSHOTS" not in os.environ, reason="SKIPPED: nobody asks for screenshots")
def test_screenshots(coordinator: Coordinator, browsers: Browsers):
    directory = Path(os.environ["GATEPOST_TEST_SCREENSHOTS"])
    _sample(coordinator)
    desktop = browsers.open()
    dark = browsers.open(f"/gates/{GATE}", color_scheme="dark")
    phone = browsers.open(viewport={"width": 390, "height": 844}, device_scale_factor=2, is_mobile=True, has_touch=True)
    for page in (desktop, phone):
        expect(page.locator("li.gate")).to_have_count(5)
        expect(card(page, GATE)).to_contain_text("deploy-17")
    comment(desktop, "release-42/migrate").fill("Rehearsed on staging, 4 minutes.")
    comment(desktop, "release-42/migrate").blur()
    expect(dark.get_by_role("list", name="Who waits")).to_contain_text("deploy-17")
    for name, page in (("desktop", desktop), ("phone", phone), ("dark", dark)):
        page.screenshot(path=directory / f"{name}.png")


def _sample(coordinator: Coordinator) -> None:
    """What a morning of releases looks like."""
    coordinator.make_wait(
        GATE,
        title="Release 42 to production",
        description="Two regions, rolling, 5% at a time. Canary in eu-west has run since yesterday without an alert.",
        timeout="1800s",
        requiredApprovals=2,
        labels={"team": "payments", "env": "production"},
        links=[{"title": "Canary", "url": "https://grafana.example/d/42"}, {"title": "Changes", "url": "https://git.example/42"}],
        subject={"uri": "oci://registry.example/payments", "digest": "sha256:4f2a9c1e77b0d35c1a8e"},
    )
    coordinator.run("reject", GATE, "--reason", "Alert on p99 latency in eu-west, looking into it.")
    coordinator.run("reset", GATE)
    workers = {
        GATE: ["--id", "deploy-17", "--note", "pipeline 4711"],
        "release-42/migrate": ["--title", "Run the schema migration", "--timeout", "15m", "--id", "migrate-3"]
        + ["--description", "Adds an index on payments.created_at. Expected lock: none.", "--label", "team=payments"],
        "models/ranker/promote": ["--title", "Promote ranker v8", "--timeout", "2h", "--id", "train-2"]
        + ["--link", "Evaluation=https://mlflow.example/8", "--label", "team=search"],
        "infra/dns-cutover": ["--title", "Cut over DNS to the new edge", "--timeout", "55s", "--id", "runner-5"],
        "backup/drop-2019": ["--title", "Delete the backups of 2019", "--id", "cron-1", "--label", "team=storage"],
    }
    for name, arguments in workers.items():
        coordinator.worker(name, *arguments)
        eventually(lambda name=name: name in coordinator.waited_at(), f"a worker waits at {name}")
    coordinator.run("approve", GATE, "--comment", "Fixed in 42.1, canary is green.")
