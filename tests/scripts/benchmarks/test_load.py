from dataclasses import replace

import pytest

from onrecord.scripts.benchmarks.load import Load, measure


def load_of(api) -> Load:
    return Load("localhost", api.host, api.port, str(api.ca), connections=2, seconds=0.2, warmup=0.0, path="/echo")


async def test_requests_are_counted(api):
    figures = await measure(load_of(api))
    assert figures["rps"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert len(api.received("/echo")) >= figures["rps"] * 0.2


async def test_an_answer_that_is_not_200_is_an_error_and_no_figure(api):
    with pytest.raises(RuntimeError, match="not a 200"):
        await measure(replace(load_of(api), path="/nothing"))
