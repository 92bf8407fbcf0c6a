"""Generates the Python code of the protos: `python generate.py`, with grpcio-tools of `requirements-dev.txt`."""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
PROTO = HERE.parent / "proto"
OUT = HERE / "src"


def generate(out: Path) -> None:
    """Writes the modules of every proto below a directory, at the path of its package."""
    protos = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    well_known = Path(protoc.__file__).parent / "_proto"
    targets = [f"--{target}_out={out}" for target in ("python", "pyi", "grpc_python")]
    failed = protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *targets, *protos])
    if failed:
        sys.exit(failed)
    for empty in out.rglob("*_pb2_grpc.py"):
        # A proto without a service.
        if "class " not in empty.read_text():
            empty.unlink()


if __name__ == "__main__":
    generate(OUT)
