gate = ApprovalGate(timeout=60)
gate.reject("bad config")
print(gate.status)  # GateStatus.REJECTED
gate.reset()
print(gate.status)  # GateStatus.PENDING -- ready for another round
# Reset all gates in a controller
controller.reset_all()
