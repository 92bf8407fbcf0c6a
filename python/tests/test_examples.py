"""Every example, and every Python block of the documentation, runs."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from conftest import Coordinator, eventually, until_waiters
from gatepost import ApprovalGate, Client, GateController, GateStatus, spec

PYTHON = Path(__file__).parents[1]
EXAMPLES = PYTHON / "examples"


def decide(client: Client, **verdicts):
    """Decides gates as soon as they wait: by the last segment of their names, all others are approved."""

    def vote(gate):
        if reason := verdicts.get(gate.name.rsplit("/")[-1]):
            client.reject(gate.name, reason=reason)
        else:
            client.approve(gate.name)

    return client.notify(vote)


def ended(process):
    """What a process said and ended with."""
    out, err = process.communicate(timeout=30)
    assert not err, err
    return process.returncode, out.splitlines()


def blocks():
    """The Python blocks of the documentation."""
    for path in (PYTHON.parent / "README.md", PYTHON / "README.md"):
        for match in re.finditer(r"^```python\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL):
            line = path.read_text()[: match.start()].count("\n") + 1
            yield pytest.param(match.group(1), id=f"{path.relative_to(PYTHON.parent)}:{line}")


def test_every_example_has_a_test():
    tests = Path(__file__).read_text()
    names = [path.name for path in EXAMPLES.glob("*.py") if path.name != "dag.py"]
    assert names
    assert [name for name in names if f'"{name}"' not in tests] == []


@pytest.mark.parametrize("block", list(blocks()))
def test_a_block_of_the_documentation(coordinator: Coordinator, client: Client, block: str):
    with decide(client):
        code, _ = ended(coordinator.python("-c", block))
    assert code == 0


def test_the_documentation_can_be_followed_on_one_coordinator(coordinator: Coordinator, client: Client):
    # As the tour of the README leaves it.
    client.create_gate("release-42/prod", spec(timeout=300, title="Release 42 to production"))
    client.approve("release-42/prod")
    with decide(client):
        for block in blocks():
            assert ended(coordinator.python("-c", block.values[0]))[0] == 0, block.id


class TestDeployment:
    def test_what_is_approved_is_deployed(self, coordinator: Coordinator, client: Client):
        process = coordinator.python(EXAMPLES / "deployment.py", GATEPOST_SCOPE="s")
        with decide(client):
            code, said = ended(process)
        assert code == 0
        steps = ["build", "test", "review_gate", "deploy_staging", "deploy_gate", "deploy_prod"]
        assert said[-6:] == [f"{name}: completed" for name in steps]
        assert "review_gate: gatepost approve s/review_gate" in said

    def test_behind_a_rejection_all_is_skipped(self, coordinator: Coordinator, client: Client):
        process = coordinator.python(EXAMPLES / "deployment.py", GATEPOST_SCOPE="s")
        with decide(client, deploy_gate="canary is red"):
            code, said = ended(process)
        assert code == 1
        assert said[-2:] == [
            "deploy_gate: failed (Gate 'deploy_gate' was rejected: canary is red)",
            "deploy_prod: skipped",
        ]
        assert "deploy_prod runs" not in said

    def test_on_an_event_loop(self, coordinator: Coordinator, client: Client):
        process = coordinator.python(EXAMPLES / "deployment_async.py", GATEPOST_SCOPE="s")
        for region in ("eu", "us", "asia"):
            until_waiters(client, f"s/{region}/deploy", 1)
        client.approve("s/asia/deploy")
        client.reject("s/eu/deploy", reason="not yet")
        client.approve("s/us/deploy")
        code, said = ended(process)
        assert code == 1
        assert set(said[3:]) == {
            "asia is deployed",
            "eu is skipped: Gate 'eu/deploy' was rejected: not yet",
            "us is deployed",
        }


@pytest.mark.parametrize("reason", ["", "not today"])
def test_callbacks(coordinator: Coordinator, client: Client, reason):
    process = coordinator.python(EXAMPLES / "callbacks.py", GATEPOST_SCOPE="s")
    with decide(client, publish=reason):
        code, said = ended(process)
    end = "publish: Gate 'publish' was rejected: not today" if reason else "publish: published"
    assert (code, said[1:]) == (1 if reason else 0, ["lint: clean", "test: green", end])


@pytest.mark.skipif(importlib.util.find_spec("dagron") is None, reason="SKIPPED: dagron needs Python 3.12")
class TestDagron:
    @pytest.mark.parametrize("reason", ["", "canary is red"])
    def test_its_executor(self, coordinator: Coordinator, client: Client, reason):
        process = coordinator.python(EXAMPLES / "dagron_executor.py", GATEPOST_SCOPE="s")
        with decide(client, deploy_gate=reason):
            code, said = ended(process)
        end = "1 succeeded, 1 failed, 1 skipped" if reason else "3 succeeded, 0 failed, 0 skipped"
        assert (code, said[-1]) == (1 if reason else 0, end)

    def test_its_checkpoints(self, coordinator: Coordinator, tmp_path: Path):
        import dagron

        saved = str(tmp_path / "saved")

        def executor(scope):
            controller = GateController({"gate": ApprovalGate(timeout=60)}, scope=scope)
            dag = dagron.DAG.builder().add_node("gate").add_node("fails").add_edge("gate", "fails").build()
            return controller, dagron.CheckpointExecutor(dag, checkpoint_dir=saved, gate_controller=controller)

        first, run = executor("first")
        first.approve("gate")
        tasks = {"gate": lambda: first.wait_sync("gate"), "fails": lambda: 1 / 0}
        assert run.execute(tasks).failed == 1
        # In another scope, as in another process: what was approved is approved again.
        second, run = executor("second")
        assert second.status("gate") is GateStatus.PENDING
        assert run.resume(tasks | {"fails": lambda: "fixed"}).failed == 0
        assert second.status("gate") is GateStatus.APPROVED


def test_the_webhook(coordinator: Coordinator, client: Client):
    client.create_gate("s/eu/deploy")
    client.create_gate("s/prod")
    process = coordinator.python(EXAMPLES / "webhook.py", GATEPOST_SCOPE="s", PORT="0")
    try:
        assert process.stderr is not None
        address = next(line for line in process.stderr if "running on" in line).split("http://")[1].split()[0]

        def post(path):
            request = urllib.request.Request(f"http://{address}/gates/{path}", method="POST")
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.load(error)

        assert post("eu/deploy/approve") == (200, {"status": "approved"})
        assert post("prod/reject?reason=red") == (200, {"status": "rejected"})
        # A decided gate stays as it is, and says so.
        assert post("prod/approve") == (200, {"status": "rejected"})
        assert post("nowhere/approve") == (404, {"detail": "No gate named 'nowhere'"})
        assert client.get_gate("s/prod").resolution.reason == "red"
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_the_slack_bot(coordinator: Coordinator, client: Client):
    posted = []

    class Slack(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Slack) as slack:
        threading.Thread(target=slack.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{slack.server_port}/"
        bot = coordinator.python(EXAMPLES / "slack_bot.py", GATEPOST_SCOPE="s", SLACK_WEBHOOK_URL=url)
        controller = GateController({"qa": ApprovalGate()}, scope="s")
        worker = threading.Thread(target=lambda: controller.wait_sync("qa"), daemon=True)
        worker.start()
        try:
            eventually(lambda: posted, "the bot posts")
        finally:
            bot.terminate()
            bot.communicate(timeout=30)
            slack.shutdown()
        assert posted == [{"text": "Gate 'qa' needs approval. Reply /approve or /reject"}]
        controller.approve("qa")
        worker.join(30)


def test_without_a_webhook_the_bot_prints(coordinator: Coordinator, client: Client):
    bot = coordinator.python(EXAMPLES / "slack_bot.py", GATEPOST_SCOPE="s")
    client.create_gate("s/qa")
    worker = threading.Thread(target=lambda: client.wait("s/qa"), daemon=True)
    worker.start()
    assert bot.stdout is not None
    assert bot.stdout.readline() == "Gate 'qa' needs approval. Reply /approve or /reject\n"
    bot.terminate()
    bot.communicate(timeout=30)
    client.approve("s/qa")
    worker.join(30)
