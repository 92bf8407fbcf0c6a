"""The pictures in README, of what a morning of releases looks like."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import GATE, card, comment, eventually
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Browsers, Coordinator


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
        links=[
            {"title": "Canary", "url": "https://grafana.example/d/42"},
            {"title": "Changes", "url": "https://git.example/42"},
        ],
        subject={"uri": "oci://registry.example/payments", "digest": "sha256:4f2a9c1e77b0d35c1a8e"},
    )
    coordinator.run("reject", GATE, "--reason", "Alert on p99 latency in eu-west, looking into it.")
    coordinator.run("reset", GATE)
    workers = """
        release-42/prod --id deploy-17 --note 'pipeline 4711'
        release-42/migrate --id migrate-3 --timeout 15m --title 'Run the schema migration' --label team=payments
            --description 'Adds an index on payments.created_at. Expected lock: none.'
        models/ranker/promote --id train-2 --timeout 2h --title 'Promote ranker v8' --label team=search
            --link Evaluation=https://mlflow.example/8
        infra/dns-cutover --id runner-5 --timeout 55s --title 'Cut over DNS to the new edge'
        backup/drop-2019 --id cron-1 --title 'Delete the backups of 2019' --label team=storage
    """
    for line in re.split(r"\n {8}(?! )", workers.strip()):
        name, *arguments = shlex.split(line)
        coordinator.worker(name, *arguments)
        eventually(lambda name=name: name in coordinator.waited_at(), f"a worker waits at {name}")
    coordinator.run("approve", GATE, "--comment", "Fixed in 42.1, canary is green.")
