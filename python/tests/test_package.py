"""The package as it is installed: its stubs, its version, its types, its documentation."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gatepost
from gatepost import ApprovalGate, AsyncClient, AsyncWatch, Client, Follower, GateController, Watch

PYTHON = Path(__file__).parents[1]


@pytest.mark.skipif(importlib.util.find_spec("grpc_tools") is None, reason="SKIPPED: grpcio-tools is not installed")
def test_the_stubs_are_those_of_the_protos(tmp_path: Path):
    sys.path.insert(0, str(PYTHON))
    from generate import generate

    generate(tmp_path)
    made = {path.name: path.read_text() for path in (tmp_path / "gatepost/v1").iterdir()}
    kept = {path.name: path.read_text() for path in (PYTHON / "src/gatepost/v1").glob("*_pb2*")}
    stale = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))
    assert stale == [], "run python/generate.py with the grpcio-tools of requirements-dev.txt"


def test_the_version_is_that_of_the_coordinator():
    def version(path):
        return re.search(r'^version = "(.*)"', path.read_text(), flags=re.MULTILINE).group(1)

    assert version(PYTHON / "pyproject.toml") == version(PYTHON.parent / "Cargo.toml")


def test_the_license_is_that_of_the_project():
    assert (PYTHON / "LICENSE").read_bytes() == (PYTHON.parent / "LICENSE").read_bytes()


def test_every_public_name_is_documented():
    for name in gatepost.__all__:
        assert inspect.getdoc(getattr(gatepost, name)), name
    for kind in (ApprovalGate, AsyncClient, AsyncWatch, Client, Follower, GateController, Watch):
        for name, member in vars(kind).items():
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(member), f"{kind.__name__}.{name}"


def test_no_file_is_too_long():
    files = [path for path in PYTHON.rglob("*.py") if "_pb2" not in path.name and "target" not in path.parts]
    assert files
    assert [path.name for path in files if len(path.read_text().splitlines()) > 400] == []


def test_importing_it_begins_nothing():
    code = "import threading, gatepost.gates; print(threading.active_count())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "1\n"
