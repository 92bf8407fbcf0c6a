def make_controller(test_mode=False):
    return GateController({
        "qa_review": ApprovalGate(
            timeout=None if test_mode else 600,
            auto_approve=test_mode,
        ),
        "prod_deploy": ApprovalGate(
            timeout=None if test_mode else 300,
            auto_approve=test_mode,
        ),
    })


# In tests:
controller = make_controller(test_mode=True)
# In production:
controller = make_controller(test_mode=False)
