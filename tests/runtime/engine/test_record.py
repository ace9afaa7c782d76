from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.engine.options import BuildOptions
from snow_runtime.engine.record import EngineRecord
from snow_runtime.errors import ManifestError
from tests.runtime.engine.records import record_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
DOCUMENT = json.loads(record_of().to_json())


def test_what_is_written_can_be_read() -> None:
    record = record_of()

    assert EngineRecord.from_json(record.to_json()) == record


def test_it_says_all_that_a_fleet_has_to_know() -> None:
    assert {
        "plan_sha256",
        "graph_sha256",
        "backend",
        "version",
        "host",
        "options",
        "inputs",
        "manifest",
        "achieved",
        "compute_layers",
        "build_s",
    } <= set(DOCUMENT)
    assert set(DOCUMENT["host"]) == {"platform", "cuda", "gpu", "target", "jetpack", "driver"}
    assert DOCUMENT["manifest"]["tasks"][0]["labels"][-1] == "é"


@given(key=st.sampled_from(sorted(DOCUMENT)), value=JSON)
def test_a_field_with_anything_else_in_it(key: str, value: object) -> None:
    try:
        record = EngineRecord.from_json(json.dumps({**DOCUMENT, key: value}))
    except ManifestError:
        return
    assert EngineRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize("key", sorted(set(DOCUMENT) - {"format"}))
def test_a_field_that_is_missing(key: str) -> None:
    rest = {name: value for name, value in DOCUMENT.items() if name != key}

    with pytest.raises(ManifestError, match=repr(key)):
        EngineRecord.from_json(json.dumps(rest))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 2}', "\x00", "[" * 100_000])
def test_what_is_no_record(text: str) -> None:
    with pytest.raises(ManifestError):
        EngineRecord.from_json(text)


def test_the_command_that_builds_it_anew_is_one() -> None:
    from snow_deploy.cli import build_engine

    options = BuildOptions(
        "int8",
        ("sm86", "sm89"),
        1,
        2,
        4,
        workspace_bytes=512 << 20,
        optimization_level=5,
        hardware_compatible=True,
        version_compatible=True,
        strip_weights=True,
        dla=1,
        least_share=0.5,
    )
    command = record_of(graph="../a graph.onnx", options=options).command(Path("out/x.engine"))
    words = shlex.split(command)

    assert words[:3] == ["snow-deploy", "build-engine", "out/../a graph.onnx"]
    with build_engine.command.make_context("build-engine", words[2:]) as context:
        form = dict(context.params)
    assert form.pop("graph") == Path("out/../a graph.onnx")
    assert form.pop("output") == Path("out/x.engine")
    for name in ("others", "backend", "timing_cache", "cache_bytes", "no_cache", "as_json"):
        del form[name]
    assert build_engine._options(**form) == options
    assert "--target" not in record_of(options=options).command(Path("x.engine"), portable=True)
