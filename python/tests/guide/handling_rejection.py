from gatepost.gates import GateRejectedError

try:
    controller.wait_sync("deploy_gate")
except GateRejectedError as e:
    print(f"Gate '{e.gate_name}' rejected: {e.reason}")
# With fail_fast, deploy_prod will be skipped
