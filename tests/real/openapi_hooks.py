"""What schemathesis cannot know of the API: gates that there are, calls that do not end, and what a refusal means."""

import itertools

import schemathesis
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation

# Few, so that calls meet gates that other calls have made, decided or deleted.
GATES = itertools.cycle(["a", "a/b", "c"])
# One that nothing else is asked of, so that it is undecided.
REPORTED = itertools.cycle(["open", "a"])


def is_good(case, location):
    """Says whether a part of a request is as the document allows it."""
    part = case.meta.components.get(location)
    return part is None or part.mode == GenerationMode.POSITIVE


@schemathesis.hook
def before_call(ctx, case, kwargs):
    operation = case.operation
    if operation.path == "/openapi.json":
        return
    if "{gate}" in operation.path and is_good(case, ParameterLocation.PATH):
        case.path_parameters["gate"] = next(REPORTED if operation.path.endswith(":reportEvidence") else GATES)
    if operation.path == "/v1/gates" and operation.method == "post" and is_good(case, ParameterLocation.BODY):
        if isinstance(case.body, dict):
            case.body["gate"] = next(GATES)
    if operation.path.endswith(":reportEvidence") and is_good(case, ParameterLocation.BODY) and isinstance(case.body, dict):
        # Keys of facts have a form, which the description says.
        case.body = {"facts": {"tests": "passed"}}
    if operation.path == "/v1/gates:reset" and is_good(case, ParameterLocation.BODY) and isinstance(case.body, dict):
        case.body["prefix"] = "a"
    if is_good(case, ParameterLocation.QUERY):
        # A page is not asked for that no page before has named.
        case.query.pop("page_token", None)
        if operation.path.endswith(":wait"):
            case.query["timeout"] = "0.001s"
        if operation.path == "/v1/watch":
            # A watch does not end; one that is to start where nothing has happened yet is refused at once.
            case.query["start_revision"] = 2**60


@schemathesis.check
def what_the_document_allows_is_understood(ctx, response, case):
    """A request that is as the document says may be refused for what it asks, and never as one that is none of ours."""
    if case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE and response.status_code == 400:
        reasons = [detail.get("reason") for detail in response.json()["details"]]
        assert "INVALID_MESSAGE" not in reasons, f"not understood: {response.json()['message']}"
