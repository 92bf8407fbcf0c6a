"""A coordinator that asks who calls: logging in and out, and what others can make a browser do that is logged in."""

from __future__ import annotations

import hashlib
import re
import threading
import time
import urllib.error
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import GATE, Coordinator, button, card, comment, eventually
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from conftest import Browsers
    from playwright.sync_api import Browser, Page, Route

ROLES = {"ci": "worker", "alice": "approver", "bob": "approver", "vera": "viewer", "ada": "admin"}
TOKENS = {name: f"gp_{name}" for name in [*ROLES, "stranger"]}
SECOND = "gp_alice_again"


def configuration(tokens: Iterable[tuple[str, str]]) -> str:
    """Tokens, each with whose it is, and a role for everybody but the stranger."""
    digest = lambda token: hashlib.sha256(token.encode()).hexdigest()  # noqa: E731
    known = [f'[[token]]\nprincipal = "{name}"\nsha256 = "{digest(token)}"\n' for name, token in tokens]
    grants = [f'[[grant]]\nto = ["{name}"]\nroles = ["{role}"]\non = ["**"]\n' for name, role in ROLES.items()]
    return "\n".join(known + grants)


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    """A coordinator that knows some people by their tokens."""
    file = tmp_path / "gatepost.toml"
    file.write_text(configuration(TOKENS.items()))
    started = Coordinator(tmp_path / "data", ["--config", file])
    started.token = TOKENS["ci"]
    yield started
    started.end()


def withdraw_alices_token(coordinator: Coordinator, tmp_path: Path) -> None:
    """Has it know alice by her second token alone."""
    tokens = [*((name, token) for name, token in TOKENS.items() if name != "alice"), ("alice", SECOND)]
    (tmp_path / "gatepost.toml").write_text(configuration(tokens))
    coordinator.reload()
    own, coordinator.token = coordinator.token, TOKENS["alice"]

    def is_unknown() -> bool:
        try:
            coordinator.get("/v1/session")
        except urllib.error.HTTPError as refusal:
            return refusal.code == 401
        return False

    eventually(is_unknown, "the token is withdrawn")
    coordinator.token = own


def log_in(page: Page, token: str) -> None:
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(token)
    page.keyboard.press("Enter")


def opened_by(name: str, browsers: Browsers, path: str = "/", **options) -> Page:
    page = browsers.visit(path, **options)
    log_in(page, TOKENS[name])
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.locator("#who")).to_contain_text(name)
    return page


def test_whoever_logs_in_decides_in_their_name(coordinator: Coordinator, browsers: Browsers):
    coordinator.make_wait(GATE)
    page = browsers.visit(f"/gates/{GATE}")
    expect(page.get_by_role("main")).not_to_contain_text(GATE)
    expect(page).to_have_title("Log in — gatepost")
    token = page.get_by_label("Token")
    for attribute, value in (("type", "password"), ("autocomplete", "current-password")):
        expect(token).to_have_attribute(attribute, value)
    log_in(page, "gp_nobody")
    expect(page.get_by_role("alert")).to_have_text("This did not work: the token is not known.")
    expect(token).to_have_attribute("aria-invalid", "true")
    log_in(page, TOKENS["alice"])
    # Where they wanted to be.
    expect(page.get_by_role("heading", level=1)).to_have_text(GATE)
    expect(token).to_have_value("")

    page.reload()
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.get_by_role("heading", name="Log in")).to_be_hidden()
    comment(page, GATE).fill("canary is green")
    button(page, "Approve", GATE).click()
    expect(page.locator(".outcome")).to_contain_text("Approved by alice")
    expect(page.locator(".history")).to_contain_text("Approved by alice")
    expect(page.locator(".history")).to_contain_text("Created by ci")
    assert coordinator.gate(GATE)["resolution"]["by"] == "alice"

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.locator("body")).not_to_contain_text("canary is green")
    expect(page.locator("#who")).to_be_hidden()
    assert page.context.cookies() == []
    page.reload()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_the_cookie_is_for_this_site_alone_and_for_no_script(browsers: Browsers):
    page = opened_by("alice", browsers)
    [cookie] = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert cookie["domain"] == "127.0.0.1"
    assert time.time() < cookie["expires"] <= time.time() + 12 * 60 * 60
    assert page.evaluate("document.cookie") == ""
    stored = page.evaluate("[localStorage.length, sessionStorage.length]")
    assert stored == [0, 0]


def test_a_refusal_is_shown_where_the_decision_was_made(coordinator: Coordinator, browsers: Browsers):
    coordinator.make_wait(GATE)
    page = opened_by("vera", browsers)
    comment(page, GATE).fill("fine")
    button(page, "Approve", GATE).click()
    expect(card(page, GATE).locator(".message")).to_have_text(re.compile("^This was refused: .*vera.*decide.*"))
    expect(comment(page, GATE)).to_have_value("fine")
    assert coordinator.gate(GATE)["status"] == "GATE_STATUS_WAITING"


def test_whoever_may_see_nothing_is_told_so(coordinator: Coordinator, browsers: Browsers):
    coordinator.make_wait(GATE)
    page = opened_by("stranger", browsers)
    expect(page.get_by_text("Nothing here that you may see.")).to_be_visible()
    page.goto(f"/gates/{GATE}")
    expect(page.get_by_role("alert")).to_contain_text("stranger")
    expect(page.locator("#connection")).to_have_text("Paused")
    expect(page.locator("li.gate")).to_have_count(0)


def test_a_token_that_is_withdrawn_ends_the_session_and_loses_no_comment(
    coordinator: Coordinator, browsers: Browsers, tmp_path: Path
):
    coordinator.make_wait(GATE)
    page = opened_by("alice", browsers)
    comment(page, GATE).fill("half a sen")
    withdraw_alices_token(coordinator, tmp_path)
    button(page, "Approve", GATE).click()
    expect(page.get_by_role("alert")).to_have_text("Your session has ended.")
    expect(card(page, GATE)).to_be_hidden()
    assert coordinator.gate(GATE)["status"] == "GATE_STATUS_WAITING"
    log_in(page, SECOND)
    expect(page.locator("#connection")).to_have_text("Live")
    expect(card(page, GATE)).to_contain_text("nothing was decided: press again")
    expect(comment(page, GATE)).to_have_value("half a sen")
    button(page, "Approve", GATE).click()
    expect(card(page, GATE)).to_contain_text("Approved by alice")


def test_a_page_that_only_looks_is_let_in_again_too(coordinator: Coordinator, browsers: Browsers, tmp_path: Path):
    coordinator.make_wait(GATE)
    page = opened_by("alice", browsers)
    comment(page, GATE).fill("for my eyes only")
    withdraw_alices_token(coordinator, tmp_path)
    # Something happens, which is not for them any more.
    coordinator.make_wait("other")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(card(page, "other")).to_have_count(0)
    # Somebody else goes on, from the start.
    log_in(page, TOKENS["bob"])
    expect(page.locator("#who")).to_contain_text("bob")
    expect(card(page, "other")).to_be_visible()
    expect(comment(page, GATE)).to_have_value("")


def test_an_open_dialog_does_not_keep_anybody_from_logging_in(
    coordinator: Coordinator, browsers: Browsers, tmp_path: Path
):
    coordinator.make_wait(GATE)
    page = opened_by("alice", browsers, f"/gates/{GATE}")
    button(page, "Approve", GATE).click()
    page.get_by_role("button", name="Reset…").click()
    withdraw_alices_token(coordinator, tmp_path)
    page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    log_in(page, SECOND)
    expect(page.locator("#connection")).to_have_text("Live")
    page.get_by_role("button", name="Reset…").click()
    page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    expect(page.locator(".history")).to_contain_text("Reset by alice")


def test_another_window_that_logs_in_as_somebody_else_is_noticed(coordinator: Coordinator, browsers: Browsers):
    coordinator.make_wait(GATE)
    first = opened_by("alice", browsers)
    comment(first, GATE).fill("in alice's words")
    second = first.context.new_page()
    second.goto("/")
    second.get_by_role("button", name="Log out").click()
    log_in(second, TOKENS["bob"])
    expect(second.locator("#who")).to_contain_text("bob")
    first.evaluate("dispatchEvent(new Event('focus'))")
    expect(first.locator("#who")).to_contain_text("bob")
    expect(comment(first, GATE)).to_have_value("")


def test_a_browser_that_keeps_no_session_is_told_so(browsers: Browsers):
    page = browsers.visit()
    page.route("**/v1/session", lambda route: _lose_the_cookie(route))
    log_in(page, TOKENS["alice"])
    expect(page.get_by_role("alert")).to_contain_text("the browser has not kept it")
    page.unroute("**/v1/session")
    log_in(page, TOKENS["alice"])
    expect(page.locator("#connection")).to_have_text("Live")


def _lose_the_cookie(route: Route) -> None:
    if route.request.method == "POST":
        route.fulfill(json={"principal": "alice"})
    else:
        route.continue_()


@contextmanager
def other_site(host: str) -> Iterator[str]:
    """Serves an empty page on a port of its own."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>other</title><iframe name='sink'></iframe>")

        def log_message(self, *_arguments: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{host}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


# What a page of another site may have a browser do: forms, pictures, and requests whose answers it cannot read.
ATTACK = """async ([url, gate]) => {
    const at = `${url}/v1/gates/${encodeURIComponent(gate)}`;
    const tried = [];
    const options = { method: "POST", mode: "no-cors", credentials: "include" };
    for (const verb of ["approve", "reject", "reset"]) {
        const json = { ...options, body: JSON.stringify({ reason: "x" }), headers: { "Content-Type": "text/plain" } };
        tried.push(fetch(`${at}:${verb}`, options), fetch(`${at}:${verb}`, json));
        tried.push(fetch(`${at}:${verb}`, { ...json, mode: "cors", headers: { "Content-Type": "application/json" } }));
        const form = document.createElement("form");
        Object.assign(form, { method: "post", action: `${at}:${verb}`, target: "sink", enctype: "text/plain" });
        document.body.append(form);
        tried.push(new Promise((loaded) => {
            document.querySelector("iframe").addEventListener("load", loaded, { once: true });
            form.submit();
        }));
        await Promise.allSettled(tried);
    }
    tried.push(fetch(at, { ...options, mode: "cors", method: "DELETE" }));
    tried.push(fetch(`${url}/v1/session`, { ...options, mode: "cors", method: "DELETE" }));
    tried.push(fetch(`${at}:wait?timeout=0.001s`, { ...options, method: "GET" }));
    tried.push(fetch(`${url}/v1/session`, { credentials: "include" }).then(() => document.title = "it has read"));
    await Promise.allSettled(tried);
}"""


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_page_of_another_site_can_do_nothing(coordinator: Coordinator, browser: Browser, host: str):
    coordinator.create(GATE)
    before = coordinator.get("/v1/events")
    # Not one of our own pages, which ask nobody else.
    context = browser.new_context(base_url=coordinator.url)
    page = context.new_page()
    page.goto("/")
    log_in(page, TOKENS["ada"])
    expect(page.locator("#who")).to_contain_text("ada")
    with other_site(host) as url:
        evil = context.new_page()
        evil.goto(url)
        with evil.expect_response(lambda answer: answer.request.is_navigation_request()) as answered:
            evil.evaluate(ATTACK, [coordinator.url, GATE])
        assert answered.value.status == 403
        # On the same host, whatever its port, the cookie goes along: there it is the Origin alone that keeps them out.
        cookies = answered.value.request.all_headers().get("cookie", "")
        assert ("gatepost-session" in cookies) == (host == "127.0.0.1")
        expect(evil).to_have_title("other")
        with evil.expect_event("requestfailed", lambda request: "/gates/" in request.url) as framed:
            evil.evaluate("url => document.querySelector('iframe').src = url", f"{coordinator.url}/gates/{GATE}")
        assert framed.value.failure == "net::ERR_BLOCKED_BY_RESPONSE"
    assert coordinator.get("/v1/events") == before
    # Neither are they logged out.
    page.reload()
    expect(page.locator("#who")).to_contain_text("ada")
    context.close()


def test_a_get_of_whatever_there_is_changes_nothing(coordinator: Coordinator, browsers: Browsers):
    coordinator.create(GATE)
    page = opened_by("ada", browsers)
    coordinator.token = TOKENS["ada"]
    before = coordinator.get("/v1/events")
    paths = [path.replace("{gate}", GATE) for path in coordinator.get("/openapi.json")["paths"]]
    assert f"/v1/gates/{GATE}:wait" in paths
    assert "/v1/session" in paths
    for path in [*paths, "/", f"/gates/{GATE}", "/openapi.json", "/metrics", "/healthz", "/readyz"]:
        if path == "/v1/watch":
            continue
        for asked in (path, f"{path}?verb=approve", f"{path}?timeout=0.001s"):
            page.context.request.get(asked)
            page.context.request.head(asked)
    assert coordinator.get("/v1/events") == before
    assert coordinator.gate(GATE)["status"] == "GATE_STATUS_PENDING"
    page.reload()
    expect(page.locator("#connection")).to_have_text("Live")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_log_in(coordinator: Coordinator, browsers: Browsers, scheme: str):
    coordinator.make_wait(GATE)
    # The checker is a script that the pages' policy refuses.
    page = browsers.visit(color_scheme=scheme, bypass_csp=True)
    page.route("**/v1/session", _as_insecure)
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert Axe().run(page).violations_count == 0
    log_in(page, "gp_nobody")
    expect(page.get_by_role("alert")).to_be_visible()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    log_in(page, TOKENS["alice"])
    expect(card(page, GATE)).to_be_in_viewport()
    expect(page.get_by_role("note")).to_contain_text("without TLS")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_phone_shows_all_of_it(coordinator: Coordinator, browsers: Browsers):
    coordinator.make_wait(GATE)
    page = browsers.visit(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
    page.route("**/v1/session", _as_insecure)
    scrolls = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert not page.evaluate(scrolls)
    log_in(page, TOKENS["alice"])
    expect(page.get_by_role("button", name="Log out")).to_be_in_viewport()
    expect(page.get_by_role("note")).to_be_in_viewport()
    assert not page.evaluate(scrolls)


def _as_insecure(route: Route) -> None:
    """Answers as a server does that is reached from elsewhere without anything that protects it."""
    answer = route.fetch()
    if route.request.method == "GET" and answer.ok:
        route.fulfill(response=answer, json=answer.json() | {"insecure": True})
    else:
        route.fulfill(response=answer)
