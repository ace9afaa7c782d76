"""The reference names every field of the documents that it describes, and no other."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snow_deploy.plan.accuracy import counted
from snow_deploy.plan.combination import Combination
from snow_deploy.plan.device import DEVICES
from snow_deploy.plan.document import plan_document
from snow_deploy.plan.plan import Plan
from snow_deploy.plan.request import PlanRequest
from snow_deploy.plan.variants import Candidates
from snow_deploy.training.store import Store
from snow_runtime.app.answers import FrameAnswer, TaskAnswer
from snow_runtime.app.states.event import Change, StateEvent
from snow_runtime.bench.options import BenchOptions
from snow_runtime.bench.report import BenchReport, ContenderEntry
from snow_runtime.cameras.clock import Instant
from snow_runtime.graph.manifest import Manifest
from snow_runtime.results import Result, TaskResult
from tests.docs.blocks import ROOT, blocks_of
from tests.test_project import project

REFERENCE = ROOT / "docs" / "reference"
PAGES = ("manifest.md", "records.md", "configuration.md", "updates.md")
_TABLE = re.compile(
    r"<!-- (?P<what>fields|keys): (?P<name>[\w.-]+) -->\s*(?P<rows>(?:^\|.*\n)+)", re.MULTILINE
)
_GIVEN = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


def tables(what: str) -> dict[str, list[str]]:
    """Return the fields that the pages' tables give, by the name above each table."""
    return {
        table["name"]: _GIVEN.findall(table["rows"])
        for page in PAGES
        for table in _TABLE.finditer((REFERENCE / page).read_text(encoding="utf-8"))
        if table["what"] == what
    }


def found(name: str) -> type[Any]:
    module, _, attribute = name.rpartition(".")
    kind = getattr(import_module(module), attribute)
    assert isinstance(kind, type)
    return kind


def parts(kind: type[Any]) -> set[str]:
    """Return the dataclasses of our own that a dataclass's annotations name, and their parts'."""
    module = import_module(kind.__module__)
    named = {word for field in fields(kind) for word in re.findall(r"\w+", str(field.type))}
    own = {getattr(module, word, None) for word in named}
    below = {each for each in own if isinstance(each, type) and is_dataclass(each)}
    return {f"{each.__module__}.{each.__qualname__}" for each in below}.union(*map(parts, below))


@pytest.mark.parametrize("name", sorted(tables("fields")))
def test_a_table_has_every_field_of_its_class(name: str) -> None:
    expected = {field.name for field in fields(found(name))}

    assert set(tables("fields")[name]) == expected


@pytest.mark.parametrize(
    "document",
    [
        "snow_runtime.graph.manifest.Manifest",
        "snow_runtime.engine.record.EngineRecord",
        "snow_runtime.update.release.Release",
        "snow_runtime.update.rollout.Rollout",
        "snow_runtime.update.box.BoxState",
        "snow_runtime.update.status.BoxStatus",
    ],
)
def test_every_part_of_a_document_has_a_table(document: str) -> None:
    assert {document} | parts(found(document)) <= set(tables("fields"))


def written() -> dict[str, dict[str, Any]]:
    """Write one of each document that is no dataclass as it is."""
    answer = FrameAnswer("door", 1, 0.0, 1.0, 1.0, {"a": TaskAnswer("x", 1.0)})
    change = Change("off", "on", "answers", Instant(0.0, 0.0), None)
    result = Result([TaskResult("a", ("x",), np.ones(1, np.float32))], 1.0)
    options = BenchOptions(models=(Path(__file__),))
    entry = ContenderEntry(Path(__file__), 1, "")
    known = ("tasks", "input", "image_size", "providers")
    entry.facts = dict.fromkeys((*known, "precision", "layout", "source_sha256", "task_sha256"))
    combination = Combination("fp16", {}, {"a": counted(0.5, 4)}, None, None, False, None)
    request = PlanRequest(device=DEVICES["l4"])
    candidates = Candidates(Store("store"), "", ())
    plan = Plan(request, candidates, {}, (combination,), None, None, None, ())
    return {
        "answer": answer.to_dict(),
        "event": StateEvent("door", "a", "x", change).to_dict(),
        "prediction": {"photo": "", **result.to_dict()},
        "bench": BenchReport(options, [entry]).to_dict(),
        "bench-options": options.to_dict(),
        "bench-contender": entry.to_dict(1),
        "plan": plan_document(plan),
        "plan-combination": combination.to_dict(),
    }


@pytest.mark.parametrize("name", sorted(written()))
def test_a_table_has_every_key_that_is_written(name: str) -> None:
    assert set(tables("keys")[name]) == set(written()[name])


def test_the_example_of_a_manifest_is_one() -> None:
    page = REFERENCE / "manifest.md"
    (example,) = (
        block.text
        for block in blocks_of(page.read_text(encoding="utf-8"), page)
        if block.language == "json"
    )

    assert Manifest.from_json(example).task("door").labels == ("open", "shut")
    assert set(json.loads(example)) == set(tables("fields")["snow_runtime.graph.manifest.Manifest"])


def test_the_example_of_an_answer_is_one() -> None:
    page = REFERENCE / "records.md"
    (example,) = (
        block.text
        for block in blocks_of(page.read_text(encoding="utf-8"), page)
        if block.language == "json"
    )

    answer = json.loads(example)
    assert list(answer) == list(written()["answer"])
    assert list(answer["tasks"]["textures"]) == list(written()["answer"]["tasks"]["a"])


def test_the_reference_has_every_package() -> None:
    page = (REFERENCE / "api.md").read_text(encoding="utf-8")
    packages = project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    shown = re.findall(r"^::: (\w+)$", page, re.MULTILINE)

    assert sorted(shown) == sorted(Path(package).name for package in packages)


def test_every_threat_has_a_test_that_is_there() -> None:
    page = (REFERENCE / "updates.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\|.*\| (?:`(\w+)`|the same) \|$", page.partition("## Threats")[2], re.MULTILINE
    )
    named = {name for name in rows if name}
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert len(rows) > 15
    assert named <= there
