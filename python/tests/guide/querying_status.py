print(controller.status("deploy"))  # GateStatus.APPROVED
# List all gates currently waiting for a decision
waiting = controller.waiting_gates()
print(f"Gates awaiting approval: {waiting}")
