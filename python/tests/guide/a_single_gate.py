from gatepost.gates import ApprovalGate, GateStatus

gate = ApprovalGate(timeout=300)  # 5-minute timeout
print(gate.status)  # GateStatus.PENDING
