from gatepost.gates import ApprovalGate, GateController

controller = GateController({
    "deploy": ApprovalGate(timeout=120),

})
# In the executor thread, the gate blocks:
# controller.wait_sync("deploy") # blocks until approve/reject
# From a monitoring thread, API handler, or CLI:
controller.approve("deploy")
# or:
controller.reject("deploy", reason="Failed canary analysis")
