from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest

from snow_runtime.engine.options import BuildOptions
from snow_runtime.engine.record import EngineRecord
from snow_runtime.errors import ManifestError
from snow_runtime.graph.document import Document, parse_json, read_fields
from snow_runtime.graph.field_checks import Positive, between
from snow_runtime.graph.manifest import Manifest
from tests.runtime.engine.records import record_of


@dataclass(frozen=True)
class Inner(Document):
    prefix: ClassVar[str] = "inner."

    size: Positive


@dataclass(frozen=True)
class Outer(Document):
    name: str
    count: int
    share: float
    ready: bool
    kind: Literal["a", "b"]
    inner: Inner
    words: tuple[str, ...]
    maybe: Annotated[int, between(2, 4)] | None = None
    rest: tuple[int, ...] = ()
    by_name: dict[str, Inner] = field(default_factory=dict, hash=False)
    nested: dict[str, tuple[float, ...]] = field(default_factory=dict, hash=False)


GOOD: dict[str, Any] = {
    "name": "x",
    "count": 0,
    "share": 0.5,
    "ready": False,
    "kind": "b",
    "inner": {"size": 1},
    "words": ["one", "two"],
    "maybe": 3,
    "rest": [7],
    "by_name": {"k": {"size": 2}},
    "nested": {"n": [1, 2.5]},
}


def test_a_document_is_read_and_written() -> None:
    found = Outer.read("here", json.loads(json.dumps(GOOD)))

    assert found == Outer(
        "x", 0, 0.5, False, "b", Inner(1), ("one", "two"), 3, (7,), {"k": Inner(2)}, {"n": (1, 2.5)}
    )
    assert json.loads(json.dumps(asdict(found))) == GOOD


def test_what_may_be_missing_may_be() -> None:
    needed = {name: GOOD[name] for name in list(GOOD)[:7]}

    found = Outer.read("here", needed)

    assert (found.maybe, found.rest, found.by_name, found.nested) == (None, (), {}, {})
    assert Outer.read("here", {**needed, "maybe": None, "rest": []}) == found


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("name", "", "name is '', expected a text that is not empty"),
        ("name", None, "name is None"),
        ("count", -1, "count is -1, expected a whole number from 0"),
        ("count", True, "count is True"),
        ("count", 1.0, "count is 1.0"),
        ("share", "1", "share is '1', expected a finite number"),
        ("share", float("nan"), "share is nan"),
        ("ready", 1, "ready is 1, expected False or True"),
        ("ready", None, "ready is None"),
        ("kind", "c", "kind is 'c', expected 'a' or 'b'"),
        ("inner", None, "inner is None, expected a table"),
        ("inner", {"size": 0}, "inner.size is 0, expected a whole number from 1"),
        ("inner", {}, "inner is {}, expected a field 'size' in it"),
        ("inner", {"size": 1, "colour": 2}, "a field in inner is 'colour', expected one of size"),
        ("words", [], "words is [], expected a list that is not empty"),
        ("words", "one", "words is 'one'"),
        ("words", ["one", 2], "words[1] is 2, expected a text"),
        ("maybe", 5, "maybe is 5, expected a whole number from 2 to 4"),
        ("rest", {}, "rest is {}, expected a list"),
        ("rest", None, "rest is None, expected a list"),
        ("rest", [0, -1], "rest[1] is -1"),
        ("by_name", [], "by_name is [], expected a table"),
        ("by_name", {"": {"size": 1}}, "by_name: a name is ''"),
        ("by_name", {"k": 3}, "by_name['k'] is 3, expected a table"),
        ("nested", {"n": [1, None]}, "nested['n'][1] is None, expected a finite number"),
        ("nested", {"n": []}, "nested['n'] is [], expected a list that is not empty"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(name: str, value: Any, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Outer.read("here", {**GOOD, name: value})

    assert said in caught.value.finding
    assert "Export the graph again" in str(caught.value)
    with pytest.raises(ManifestError) as caught:  # made in Python, it is checked likewise
        Outer(**{**GOOD, name: value})
    assert said in caught.value.finding


@pytest.mark.parametrize("name", list(GOOD)[:7])
def test_a_field_that_is_missing(name: str) -> None:
    rest = {key: value for key, value in GOOD.items() if key != name}

    with pytest.raises(ManifestError, match=rf"here is .*expected a field '{name}' in it"):
        Outer.read("here", rest)


def test_an_unknown_field() -> None:
    with pytest.raises(ManifestError, match="a field in here is 'more', expected one of name, cou"):
        Outer.read("here", {**GOOD, "more": 1})


def test_numpys_numbers_become_pythons_own() -> None:
    numbers = {"count": np.int64(3), "share": np.float32(0.5), "rest": np.arange(3).tolist()}
    made = Outer.read("here", {**GOOD, **numbers, "nested": {"n": (np.float32(1), np.int8(2))}})

    assert [type(value) for value in (made.count, made.share)] == [int, float]
    assert [type(value) for value in made.nested["n"]] == [float, float]
    json.dumps(asdict(made))


@pytest.mark.parametrize("read", [Manifest.from_json, EngineRecord.from_json])
@pytest.mark.parametrize("field_name", ["precision", "layout", "sha256", "format"])
def test_a_name_that_comes_twice_is_refused_at_any_depth(read: Any, field_name: str) -> None:
    """JSON leaves open which of the two counts; others may read the other one."""
    record = record_of()
    text = (record.manifest if read == Manifest.from_json else record).to_json()
    compact = json.dumps(json.loads(text), separators=(",", ":"))
    assert read(compact) == read(text)

    before, found, rest = compact.partition(f'"{field_name}":')
    assert found
    value = json.dumps(json.JSONDecoder().raw_decode(rest)[0])
    with pytest.raises(ManifestError, match=r"the list of names in a table is .*each of them once"):
        read(f"{before}{found}{value},{found}{rest}")


def test_json_that_is_none() -> None:
    for text in ("", "{", "[" * 100_000, '{"a":' * 50_000, "1" * 5_000):
        with pytest.raises(ManifestError, match="expected JSON, but"):
            parse_json(text)


def test_the_fields_of_a_dataclass_that_is_no_document() -> None:
    assert read_fields(BuildOptions, "options", {"min_batch": np.int64(2)}) == {"min_batch": 2}
    for wrong, said in (
        ({"min_batch": 0}, "options.min_batch is 0, expected a whole number from 1 to 4096"),
        ({"targets": ["sm86", "gpu"]}, r"options.targets\[1\] is 'gpu', expected a compute cap"),
        ({"precision": "fp8"}, "options.precision is 'fp8', expected 'fp32' or 'fp16' or 'int8'"),
        ({"strip_weights": 1}, "options.strip_weights is 1, expected False or True"),
        ({"batch": 1}, "a field in options is 'batch', expected one of precision, targets"),
    ):
        with pytest.raises(ManifestError, match=said):
            BuildOptions.from_dict("options", wrong)
