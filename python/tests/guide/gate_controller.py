from gatepost.gates import ApprovalGate, GateController

controller = GateController({
    "qa_review": ApprovalGate(timeout=600),  # 10 min
    "prod_deploy": ApprovalGate(timeout=300),  # 5 min

})
