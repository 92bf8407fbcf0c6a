from gatepost.gates import ApprovalGate, GateTimeoutError

gate = ApprovalGate(timeout=5)  # 5-second timeout
try:
    gate.wait_sync()
except GateTimeoutError as e:
    print(f"Timed out after {e.timeout}s")
    print(f"Gate status: {gate.status}")  # GateStatus.TIMED_OUT
