import threading
import time

import dagron

from gatepost.gates import ApprovalGate, GateController, GateStatus
from dagron.execution._types import ExecutionCallbacks

# 1. Build the DAG
dag = (
    dagron.DAG.builder()
    .add_node("build")
    .add_node("test")
    .add_node("review_gate")
    .add_node("deploy_staging")
    .add_node("deploy_gate")
    .add_node("deploy_prod")
    .add_edge("build", "test")
    .add_edge("test", "review_gate")
    .add_edge("review_gate", "deploy_staging")
    .add_edge("deploy_staging", "deploy_gate")
    .add_edge("deploy_gate", "deploy_prod")
    .build()
)
# 2. Set up gates
controller = GateController({
    "review_gate": ApprovalGate(timeout=600),
    "deploy_gate": ApprovalGate(timeout=300),
})


# 3. Create tasks that wait at gates
def make_gate_task(gate_name):
    """Create a task that blocks on a gate."""

    def task():
        print(f" Waiting for approval at '{gate_name}'...")
        controller.wait_sync(gate_name)
        print(f" Gate '{gate_name}' approved!")
        return "approved"

    return task


tasks = {
    "build": lambda: print(" Building...") or "build-ok",
    "test": lambda: print(" Testing...") or "test-ok",
    "review_gate": make_gate_task("review_gate"),
    "deploy_staging": lambda: print(" Deploying to staging...") or "staging-ok",
    "deploy_gate": make_gate_task("deploy_gate"),
    "deploy_prod": lambda: print(" Deploying to production!") or "prod-ok",
}


# 4. Auto-approve from a background thread (simulates human operator)
def auto_approver():
    while True:
        time.sleep(1)
        for name in controller.waiting_gates():
            print(f" [approver] Approving '{name}'")
            controller.approve(name)


approver = threading.Thread(target=auto_approver, daemon=True)
approver.start()
# 5. Execute
executor = dagron.DAGExecutor(dag)
result = executor.execute(tasks)
print(f"Completed: {result.succeeded} nodes")
