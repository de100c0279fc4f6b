"""Property-based calls of the described API: no 5xx, and every answer is as the description says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
HOST = {"Host": "localhost"}
OPERATIONS = ("POST /api/v1/predict", "GET /api/v1/model", "GET /healthz")
POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
# What takes nothing cannot be given anything wrong.
CALLS = [(OPERATIONS[0], POSITIVE), (OPERATIONS[0], NEGATIVE), (OPERATIONS[1], POSITIVE), (OPERATIONS[2], POSITIVE)]


@pytest.fixture(scope="module")
def operations(app):
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=HOST)
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


def test_the_description_names_every_operation(operations):
    assert set(operations) == set(OPERATIONS)


@pytest.mark.parametrize(("name", "mode"), CALLS, ids=str)
def test_answers_are_as_described(operations, name, mode):
    quick = settings(
        max_examples=40,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @quick
    @given(case=operations[name].as_strategy(generation_mode=mode))
    def call(case):
        case.call_and_validate(headers=HOST, checks=CHECKS)

    call()
