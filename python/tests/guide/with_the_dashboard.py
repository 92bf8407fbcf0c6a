from gatepost.gates import ApprovalGate, GateController

controller = GateController({
    "review": ApprovalGate(timeout=600),
    "deploy": ApprovalGate(timeout=300),

})
