from fastapi import FastAPI

from gatepost.gates import GateController

app = FastAPI()
# Shared controller (in-process)
controller: GateController = ...


@app.post("/gates/{gate_name}/approve")
def approve_gate(gate_name: str):
    controller.approve(gate_name)
    return {"status": "approved"}


@app.post("/gates/{gate_name}/reject")
def reject_gate(gate_name: str, reason: str = ""):
    controller.reject(gate_name, reason=reason)
    return {"status": "rejected"}
