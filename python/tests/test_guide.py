"""Every example of the guide runs with only its import changed.

`guide/` has them as the guide writes them; the names that an example takes from the text before it are given here.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import inspect
import json
import os
import re
import threading
import urllib.request
from pathlib import Path

import pytest
import uvicorn

from conftest import PATIENCE, Coordinator, eventually, until_waiters, until_waiting
from gatepost import ApprovalGate, Client, GateController, GateStatus

HERE = Path(__file__).parent
GUIDE = {path.stem: path for path in (HERE / "guide").glob("*.py")}


def run(example: str, **given):
    """Runs an example with what the text before it has named, and returns all names."""
    names = {"ApprovalGate": ApprovalGate, "GateController": GateController} | given
    source = GUIDE[example].read_text()
    code = compile(source, GUIDE[example], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waiting = eval(code, names)
    if inspect.iscoroutine(waiting):
        asyncio.run(waiting)
    return names


def in_thread(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def deploy(coordinator):
    return GateController({"deploy": ApprovalGate(timeout=120), "deploy_gate": ApprovalGate(timeout=300)})


def test_every_example_has_a_test():
    tests = Path(__file__).read_text()
    assert GUIDE
    assert [name for name in GUIDE if not re.search(rf'(run\(|GUIDE\[)"{name}"', tests)] == []


def test_a_single_gate(coordinator, capsys):
    run("a_single_gate")
    assert capsys.readouterr().out == "GateStatus.PENDING\n"


def test_a_gate_controller(coordinator):
    controller = run("gate_controller")["controller"]
    assert controller.get_gate("qa_review").timeout == 600
    assert controller.status("prod_deploy") is GateStatus.PENDING


def test_from_another_thread(coordinator):
    controller = run("from_another_thread")["controller"]
    # The first decision stands.
    assert controller.status("deploy") is GateStatus.APPROVED


def test_querying_status(deploy, client, capsys):
    deploy.approve("deploy")
    waiting = in_thread(lambda: deploy.wait_sync("deploy_gate"))
    until_waiters(client, f"{deploy.scope}/deploy_gate", 1)
    run("querying_status", controller=deploy)
    assert capsys.readouterr().out == "GateStatus.APPROVED\nGates awaiting approval: ['deploy_gate']\n"
    deploy.approve("deploy_gate")
    waiting.join()


@pytest.mark.parametrize("executor", ["dagron", "dag"])
def test_with_execution(coordinator: Coordinator, tmp_path: Path, executor):
    if executor == "dag":
        # The examples' own executor, under the name of the guide's.
        (tmp_path / "dagron/execution").mkdir(parents=True)
        (tmp_path / "dagron/__init__.py").write_text("from dag import DAG, DAGExecutor")
        (tmp_path / "dagron/execution/_types.py").write_text("ExecutionCallbacks = object")
    elif importlib.util.find_spec("dagron") is None:
        pytest.skip("SKIPPED: the guide's library, dagron, is not installed; it needs Python 3.12")
    path = os.pathsep.join([str(tmp_path), str(HERE.parent / "examples"), os.environ.get("PYTHONPATH", "")])
    # A process of its own, because the example's approver never ends.
    process = coordinator.python(GUIDE["with_execution"], PYTHONPATH=path)
    said, err = process.communicate(timeout=PATIENCE)
    # Its approver is cut off in the end, and may say so on standard error.
    assert process.returncode == 0, err
    assert said.index("Approving 'review_gate'") < said.index("Deploying to staging...")
    assert said.index("Gate 'deploy_gate' approved!") < said.index("Deploying to production!")
    assert said.endswith("Completed: 6 nodes\n")


def test_handling_rejection(deploy, capsys):
    deploy.reject("deploy_gate", reason="Failed canary analysis")
    run("handling_rejection", controller=deploy)
    assert capsys.readouterr().out == "Gate 'deploy_gate' rejected: Failed canary analysis\n"


def test_handling_timeouts(coordinator, capsys):
    run("handling_timeouts")
    assert capsys.readouterr().out == "Timed out after 5s\nGate status: GateStatus.TIMED_OUT\n"


def test_async_gates(coordinator, capsys):
    run("async_gates")
    assert capsys.readouterr().out == "Waiting for approval...\nApproved!\n"


def test_async_controller(deploy, client):
    waiting = in_thread(lambda: run("async_controller", controller=deploy))
    until_waiting(client, f"{deploy.scope}/deploy_gate")
    deploy.approve("deploy_gate")
    waiting.join(30)
    assert not waiting.is_alive()


def test_auto_approve(coordinator, capsys):
    run("auto_approve")
    assert capsys.readouterr().out == "GateStatus.APPROVED\n"


def test_a_test_mode_controller(coordinator):
    names = run("make_controller")
    tested = names["make_controller"](test_mode=True)
    for name in ("qa_review", "prod_deploy"):
        tested.wait_sync(name)
        assert names["controller"].status(name) is GateStatus.PENDING


def test_resetting_gates(deploy, capsys):
    deploy.approve("deploy")
    run("resetting_gates", controller=deploy)
    assert capsys.readouterr().out == "GateStatus.REJECTED\nGateStatus.PENDING\n"
    assert deploy.status("deploy") is GateStatus.PENDING


def test_with_the_dashboard(coordinator: Coordinator, client: Client):
    # The coordinator's dashboard needs a browser, which tests/browser has: the command line shows, and takes, the same.
    controller = run("with_the_dashboard")["controller"]
    waits = [in_thread(lambda name=name: controller.wait_sync(name)) for name in ("review", "deploy")]
    for name in ("review", "deploy"):
        until_waiters(client, f"{controller.scope}/{name}", 1)
    shown = coordinator.run("list", "--status", "waiting")
    for name in ("review", "deploy"):
        assert f"{controller.scope}/{name}" in shown
        coordinator.run("approve", f"{controller.scope}/{name}")
    for wait in waits:
        wait.join(30)
        assert not wait.is_alive()


def test_the_api_summary(coordinator, client):
    names = {}
    running = in_thread(lambda: names.update(run("api_summary")))
    (waiting,) = _first_waiting(client)
    assert waiting.endswith("/staging")
    client.approve(waiting)
    running.join(30)
    controller = names["controller"]
    statuses = {controller.status(name) for name in ("qa", "prod", "staging")}
    assert statuses == {GateStatus.PENDING}


def _first_waiting(client):
    with client.watch(statuses=[GateStatus.WAITING], initial_state=True) as watch:
        return [next(watch).name]


def test_the_http_webhook(coordinator):
    names = run("http_webhook")
    controller = names["controller"] = GateController({"qa": ApprovalGate(), "prod": ApprovalGate()})
    server = uvicorn.Server(uvicorn.Config(names["app"], port=0, log_level="warning"))
    serving = in_thread(server.run)
    eventually(lambda: server.started, "it serves")
    address = "http://{}:{}".format(*server.servers[0].sockets[0].getsockname())

    def post(path):
        with urllib.request.urlopen(urllib.request.Request(address + path, method="POST"), timeout=30) as answer:
            return json.load(answer)

    assert post("/gates/qa/approve") == {"status": "approved"}
    assert post("/gates/prod/reject?reason=red") == {"status": "rejected"}
    server.should_exit = True
    serving.join(30)
    assert controller.status("qa") is GateStatus.APPROVED
    gate = controller.get_gate("prod")
    assert gate is not None
    assert gate.reason == "red"


def test_the_slack_bot(deploy, client):
    class EnoughError(Exception):
        pass

    messages = []

    def send_slack_message(text):
        messages.append(text)
        raise EnoughError

    waiting = in_thread(lambda: deploy.wait_sync("deploy"))
    until_waiters(client, f"{deploy.scope}/deploy", 1)
    with pytest.raises(EnoughError):
        run("slack_bot", controller=deploy, send_slack_message=send_slack_message)
    assert messages == ["Gate 'deploy' needs approval. Reply /approve or /reject"]
    deploy.approve("deploy")
    waiting.join()


@pytest.mark.parametrize("passed", [True, False])
def test_conditional_auto_approval(client, passed):
    controller = GateController({"qa_review": ApprovalGate(), "other": ApprovalGate()})
    waits = [in_thread(lambda name=name: controller.wait_sync(name)) for name in ("qa_review", "other")]
    for name in ("qa_review", "other"):
        until_waiters(client, f"{controller.scope}/{name}", 1)
    names = run("conditional_auto_approval", all_tests_passed=passed)
    names["conditional_approver"](controller, names["rules"])
    assert controller.waiting_gates() == (["other"] if passed else ["qa_review", "other"])
    for name in ("qa_review", "other"):
        controller.approve(name)
    for wait in waits:
        wait.join()
