"""An HTTP endpoint that approves gates when a CI system calls it: the guide's webhook, on any host.

GATEPOST_SCOPE says whose gates: `GATEPOST_SCOPE=release-42 python webhook.py`, then
`curl -X POST localhost:8000/gates/deploy/approve`. It needs `pip install fastapi uvicorn`. Whoever reaches the port
decides: put what you trust in front of it.
"""

from __future__ import annotations

import os

import uvicorn
from fastapi import FastAPI, HTTPException

from gatepost import GateController, UnavailableError

app = FastAPI()
controller = GateController()


# Functions that are not async run in threads, which may block.
@app.post("/gates/{gate_name:path}/approve")
def approve_gate(gate_name: str) -> dict[str, str]:
    try:
        controller.approve(gate_name)
        return {"status": controller.status(gate_name).value}
    except KeyError as error:
        raise HTTPException(404, error.args[0]) from error
    except UnavailableError as error:
        raise HTTPException(503, str(error)) from error


@app.post("/gates/{gate_name:path}/reject")
def reject_gate(gate_name: str, reason: str = "") -> dict[str, str]:
    try:
        controller.reject(gate_name, reason=reason)
        return {"status": controller.status(gate_name).value}
    except KeyError as error:
        raise HTTPException(404, error.args[0]) from error
    except UnavailableError as error:
        raise HTTPException(503, str(error)) from error


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
