await controller.wait_async("deploy_gate")
