"""Watches resume, and what follows gates with them."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
import threading
from pathlib import Path

import pytest

from conftest import Coordinator, eventually, until_alone, until_waiters
from gatepost import (
    ApprovalGate,
    AsyncClient,
    Client,
    GateController,
    GateStatus,
    InvalidRequestError,
    RevisionError,
    StoreReplacedError,
    _calls,
    spec,
    v1,
)


class TestWatch:
    def test_it_tells_what_happens_in_order(self, client: Client):
        client.create_gate("r/a")
        with client.watch("r", initial_state=True) as watch:
            told = [next(watch)]
            client.create_gate("other")
            client.approve("r/a")
            client.reset_gate("r/a")
            told += [next(watch) for _ in range(2)]
        kinds = [v1.EventType.Name(event.type).removeprefix("EVENT_TYPE_") for event in told]
        assert kinds == ["EXISTING", "RESOLVED", "RESET"]
        assert watch.revision == client.get_gate("r/a").revision
        assert list(watch) == []

    @pytest.mark.parametrize("blocking", [True, False])
    def test_it_resumes_after_crashes_without_gap_or_repetition(
        self, coordinator: Coordinator, client: Client, blocking
    ):
        first = client.create_gate("a").revision
        total = 60
        told = []

        def follow():
            with client.watch(start_revision=first) as watch:
                for event in watch:
                    told.append(event.revision)
                    if len(told) == total:
                        return

        async def follow_async():
            async with AsyncClient() as own, own.watch(start_revision=first) as watch:
                async for event in watch:
                    told.append(event.revision)
                    if len(told) == total:
                        return

        thread = threading.Thread(target=follow if blocking else lambda: asyncio.run(follow_async()))
        thread.start()
        for number in range(total - 1):
            if number % 20 == 10:
                eventually(lambda number=number: len(told) >= number // 2, "some is told")
                coordinator.kill()
                coordinator.restart()
            client.reset_gate("a")
        thread.join(30)
        assert told == [event.revision for event in client.list_events()]
        assert len(told) == total

    def test_another_thread_can_end_it(self, client: Client):
        watch = client.watch()
        thread = threading.Thread(target=lambda: list(watch))
        thread.start()
        eventually(
            lambda: watch.revision or client.reset_gate(client.create_gate("a").name).round == 0, "it is in place"
        )
        watch.close()
        thread.join(30)
        assert not thread.is_alive()
        assert list(watch) == []

    async def test_a_step_that_is_given_up_loses_nothing(self, coordinator: Coordinator):
        async with AsyncClient() as client, client.watch(initial_state=True) as watch:
            for number in range(5):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(anext(watch), 0.05)
                await client.create_gate(f"g{number}")
                assert (await anext(watch)).name == f"g{number}"

    async def test_another_task_can_end_it(self, coordinator: Coordinator):
        async with AsyncClient() as client, client.watch() as watch:
            step = asyncio.ensure_future(anext(watch))
            while watch._stream is None or watch._stream._read is None:
                await asyncio.sleep(0)
            await watch.close()
            with pytest.raises(StopAsyncIteration):
                await step
            assert [event async for event in watch] == []

    def test_another_store_is_told(self, coordinator: Coordinator, client: Client, tmp_path: Path):
        client.create_gate("a")
        with client.watch(initial_state=True) as watch:
            next(watch)
            client.approve("a")
            next(watch)
            coordinator.kill()
            coordinator.restart(tmp_path / "other")
            for number in range(3):
                client.create_gate(f"b{number}")
            with pytest.raises(StoreReplacedError, match="has another store than before"):
                next(watch)

    def test_a_store_that_is_behind_is_told(self, coordinator: Coordinator, client: Client, tmp_path: Path):
        client.create_gate("a")
        coordinator.kill()
        shutil.copytree(coordinator.data, tmp_path / "backup")
        coordinator.restart()
        with client.watch(initial_state=True) as watch:
            next(watch)
            for _ in range(5):
                client.reset_gate("a")
                next(watch)
            coordinator.kill()
            coordinator.restart(tmp_path / "backup")
            with pytest.raises(RevisionError):
                next(watch)


class TestFollowers:
    def test_waiting_gates_are_approved_by_their_rules(self, client: Client, caplog):
        names = ("yes", "no", "fails", "none")
        controller = GateController({name: ApprovalGate(timeout=60) for name in names}, scope="s")
        asked = []

        def no():
            asked.append("no")
            return False

        def fails():
            asked.append("fails")
            raise ValueError("the tests are gone")

        # One waits before the approver is there.
        waits = {}

        def begin(name):
            waits[name] = threading.Thread(target=lambda: controller.wait_sync(name), daemon=True)
            waits[name].start()
            until_waiters(client, f"s/{name}", 1)

        begin("no")
        with controller.auto_approver({"yes": lambda: True, "no": no, "fails": fails, "nowhere": lambda: True}):
            begin("fails")
            begin("none")
            waits["yes"] = threading.Thread(target=lambda: controller.wait_sync("yes"))
            waits["yes"].start()
            waits["yes"].join(30)
            assert controller.status("yes") is GateStatus.APPROVED
        assert sorted(asked) == ["fails", "no"]
        assert client.get_gate("s/yes").resolution.reason == "approved by a rule"
        assert controller.waiting_gates() == ["no", "fails", "none"]
        assert "the callback for gate s/fails failed" in caplog.text
        for name in names:
            controller.approve(name)
            waits[name].join()

    def test_a_rule_that_could_not_approve_tries_on(self, coordinator: Coordinator, client: Client, monkeypatch):
        monkeypatch.setattr(_calls, "AGAIN_SECONDS_MAX", 0.2)
        controller = GateController({"qa": ApprovalGate()}, scope="s")

        def rule():
            coordinator.kill()
            threading.Timer(0.5, coordinator.restart).start()
            return True

        with controller.auto_approver({"qa": rule}):
            controller.wait_sync("qa")

    def test_what_is_asynchronous_is_refused_and_approves_nothing(self, client: Client, caplog):
        controller = GateController({"qa": ApprovalGate()}, scope="s")
        for begin in (controller.notify, client.notify, lambda rule: controller.auto_approver({"qa": rule})):
            with pytest.raises(TypeError, match="is asynchronous: give a plain function, or use AsyncClient"):
                begin(_yes)
        # Nobody sees what this returns before it is called.
        with controller.auto_approver({"qa": lambda: _yes()}):
            worker = threading.Thread(target=lambda: controller.wait_sync("qa"))
            worker.start()
            eventually(lambda: "the callback for gate s/qa failed" in caplog.text, "it is logged")
            assert "is asynchronous" in caplog.text
            assert controller.status("qa") is GateStatus.WAITING
        controller.approve("qa", comment="by hand")
        worker.join(30)
        assert client.get_gate("s/qa").resolution.reason == "by hand"

    def test_a_callback_that_exits_ends_nothing(self, client: Client, caplog):
        controller = GateController({"qa": ApprovalGate(), "prod": ApprovalGate()}, scope="s")
        with controller.notify(lambda _: sys.exit(3)):
            worker = threading.Thread(target=lambda: controller.wait_sync("qa"))
            worker.start()
            eventually(lambda: "ended with SystemExit(3)" in caplog.text, "it is logged")
            controller.approve("qa")
            worker.join(30)

    def test_only_the_round_that_was_looked_at_is_approved(self, client: Client, caplog):
        caplog.set_level(logging.INFO, "gatepost")
        controller = GateController({"qa": ApprovalGate()}, scope="s")
        looked, go_on = threading.Event(), threading.Event()
        rounds = []

        def rule():
            rounds.append(len(rounds) + 1)
            looked.set()
            go_on.wait(30)
            return rounds == [1]

        thread = threading.Thread(target=lambda: controller.wait_sync("qa"))
        thread.start()
        with controller.auto_approver({"qa": rule}):
            looked.wait(30)
            client.reset_gate("s/qa")
            go_on.set()
            eventually(lambda: rounds == [1, 2], "it looks at the next round too")
        assert "did not count" in caplog.text
        gate = client.get_gate("s/qa")
        assert (gate.round, GateStatus.of(gate)) == (2, GateStatus.WAITING)
        controller.approve("qa")
        thread.join()

    def test_a_bot_is_told_once_in_each_round_through_crashes(self, coordinator: Coordinator, client: Client):
        controller = GateController({"a": ApprovalGate(), "b": ApprovalGate()}, scope="s")
        told: list[str] = []
        workers = []

        def work(name):
            workers.append(threading.Thread(target=lambda: controller.wait_sync(name)))
            workers[-1].start()

        with controller.notify(told.append) as bot:
            for name in ("a", "b"):
                work(name)
                eventually(lambda name=name: name in told, f"{name} is told")
                coordinator.kill()
                coordinator.restart()
                controller.approve(name)
            client.reset_gate("s/a")
            work("a")
            eventually(lambda: told == ["a", "b", "a"], "it is told again")
            controller.approve("a")
            for worker in workers:
                worker.join(30)
            with pytest.raises(TimeoutError):
                bot.join(timeout=0.01)
        bot.join()

    async def test_on_an_event_loop(self, coordinator: Coordinator):
        told = []
        async with AsyncClient() as client:
            other = [
                asyncio.create_task(client.notify(lambda gate: told.append(gate.name))),
                asyncio.create_task(client.auto_approver({"a": lambda: True, "b": _yes})),
            ]
            for name in ("a", "b"):
                assert (await client.wait(name, spec=spec())).approved
            while told != ["a", "b"]:
                await asyncio.sleep(0.01)
            for task in other:
                task.cancel()
            await asyncio.gather(*other, return_exceptions=True)
        await until_alone()

    def test_one_that_is_refused_says_so(self, client: Client, caplog):
        bot = client.notify(print, prefix="no prefix")
        with pytest.raises(InvalidRequestError):
            bot.join(timeout=30)
        eventually(lambda: "following gates ended" in caplog.text, "it is logged")


async def _yes():
    await asyncio.sleep(0)
    return True
