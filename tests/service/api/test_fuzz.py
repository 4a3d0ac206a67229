"""The whole API under schemathesis: a short, deterministic run. `benchmarks/fuzz.py` is the long one."""

from pathlib import Path

import pytest
from fastapi.responses import JSONResponse
from support.fuzzing import fuzz, served

from service.api.scopes import requires

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]


def test_nothing_that_is_asked_at_random_makes_the_server_fail_or_lie(tmp_path: Path) -> None:
    findings = fuzz(served(tmp_path), examples=1, seed=0, phases=("fuzzing",))
    assert findings.failures == []
    assert findings.cases["fuzzing"] > 30


@pytest.mark.slow
def test_nothing_that_can_be_asked_makes_the_server_fail_or_lie(tmp_path: Path) -> None:
    findings = fuzz(served(tmp_path), examples=3, seed=0, phases=("coverage", "fuzzing", "stateful"))
    assert findings.failures == []
    assert findings.cases["coverage"] > 1000
    assert min(findings.cases["fuzzing"], 5 * findings.cases["stateful"]) > 50
    answered = {status for phase in findings.statuses.values() for status in phase}
    assert {200, 201, 204, 400, 404, 405, 409, 415, 422} <= answered
    assert any("training-jobs" in operation for operation in findings.operations)


def test_the_fuzzer_sees_a_server_that_fails_and_one_that_lies(tmp_path: Path) -> None:
    app = served(tmp_path)

    @app.get("/fails", dependencies=[requires("adapt")])
    def fails(wanted: int) -> None:
        raise RuntimeError("by design")

    @app.get("/lies", dependencies=[requires("adapt")], responses={404: {"description": "nothing"}})
    def lies() -> dict[str, int]:
        return JSONResponse({"not": "a number"})  # type: ignore[return-value]

    @app.get("/refuses", dependencies=[requires("adapt")], responses={409: {"description": "no problem"}})
    def refuses() -> None:
        return JSONResponse({}, 409)  # type: ignore[return-value]

    app.openapi_schema = None
    checks = {(failure.split(":")[0], failure.split("/")[1].split()[0]) for failure in _failures(app)}
    assert ("error of the fuzzer", "fails:") in checks  # in process the exception itself comes through
    assert ("response_schema_conformance", "lies") in checks
    assert ("refusals_are_problems", "refuses") in checks


def _failures(app) -> list[str]:
    findings = fuzz(app, examples=1, seed=0, phases=("fuzzing",))
    return [failure for failure in findings.failures if "/" in failure]
