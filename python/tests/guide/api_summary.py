controller = GateController({
    "qa": ApprovalGate(timeout=600),
    "prod": ApprovalGate(timeout=300),
})
# Add a gate after construction
controller.add_gate("staging", ApprovalGate())
# Approve / reject
controller.approve("qa")
controller.reject("prod", reason="Canary failed")
# Query
controller.status("qa")  # GateStatus.APPROVED
controller.waiting_gates()  # ["staging"]
controller.has_gate("qa")  # True
controller.get_gate("qa")  # ApprovalGate instance or None
# Wait (blocking)
controller.wait_sync("staging")
# Wait (async)
await controller.wait_async("staging")
# Reset all gates to PENDING
controller.reset_all()
