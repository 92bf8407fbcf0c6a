gate = ApprovalGate(auto_approve=True)
print(gate.status)  # GateStatus.APPROVED -- immediately approved
# wait_sync() returns immediately
gate.wait_sync()
