from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_runtime.errors import ManifestError, SnowError
from snow_runtime.graph.manifest import (
    InputEntry,
    Layout,
    Manifest,
    Preprocessing,
    Quantisation,
    SourceEntry,
    TaskEntry,
)
from snow_runtime.graph.task_name import check_task_name
from snow_runtime.multilabel import Labelling

texts = st.text(min_size=1, max_size=8)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=1e-6, max_value=1e6)
whole = st.integers(0, 2**63 - 1)
names = st.from_regex(r"[a-z][a-z0-9_-]{0,63}", fullmatch=True).filter(
    lambda n: n not in {"image", "input"}
)
selections = st.sets(st.integers(0, 4096), min_size=1, max_size=9).map(lambda s: tuple(sorted(s)))


@st.composite
def preprocessings(draw: st.DrawFn) -> Preprocessing:
    size = draw(st.integers(1, 1000))
    resized = draw(st.integers(size, 2000))
    mean = draw(st.tuples(finite, finite, finite))
    return Preprocessing(size, resized, mean, draw(st.tuples(positive, positive, positive)))


def tasks(name: str) -> st.SearchStrategy[TaskEntry]:
    return st.builds(
        TaskEntry,
        st.just(name),
        st.just(f"output of {name}"),
        st.lists(texts, min_size=1, max_size=5).map(tuple),
        st.none() | hashes,
        st.none() | st.integers(1, 64),
        st.none() | st.integers(1, 64),
        st.dictionaries(texts, selections, max_size=3),
        st.dictionaries(texts, finite, max_size=3),
        st.none() | texts,
        answers=st.sampled_from(get_args(Labelling)),
    )


manifests = st.builds(
    Manifest,
    source=st.builds(SourceEntry, texts, hashes, whole),
    preprocessing=preprocessings(),
    tasks=st.lists(names, min_size=1, max_size=3, unique=True).flatmap(
        lambda chosen: st.tuples(*map(tasks, chosen))
    ),
    layout=st.sampled_from(get_args(Layout)),
    precision=st.sampled_from(["fp32", "fp16", "int8"]),
    versions=st.dictionaries(texts, texts, max_size=3),
    quantisation=st.none()
    | st.builds(
        Quantisation,
        hashes,
        texts,
        st.integers(1, 2**40),
        hashes,
        st.sampled_from(["fp32", "fp16"]),
        whole,
        st.lists(texts, max_size=3).map(tuple),
    ),
)


@settings(deadline=None)
@given(manifests)
def test_json_there_and_back_is_the_same_manifest_and_the_same_text(manifest: Manifest) -> None:
    text = manifest.to_json()
    again = Manifest.from_json(text)
    assert again == manifest
    assert again.to_json() == text
    assert text.isascii()


@settings(deadline=None)
@given(manifests, st.data())
def test_truncated_json_is_a_manifest_error(manifest: Manifest, data: st.DataObject) -> None:
    text = manifest.to_json()
    with pytest.raises(ManifestError):
        Manifest.from_json(text[: data.draw(st.integers(0, len(text) - 1))])


@settings(deadline=None)
@given(manifests, st.data())
def test_changed_characters_give_a_manifest_or_a_snow_error(
    manifest: Manifest, data: st.DataObject
) -> None:
    text = list(manifest.to_json())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] = data.draw(st.sampled_from('{}[]",:0-1e9.\\ntfNI\ud800') | st.characters())
    try:
        again = Manifest.from_json("".join(text))
    except SnowError:
        return
    assert Manifest.from_json(again.to_json()) == again


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def places(value: object) -> list[tuple[Any, Any]]:
    """List every (container, key) of a JSON document."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))  # type: ignore[arg-type]
    found: list[tuple[Any, Any]] = []
    for key in keys:
        found.append((value, key))
        child = value[key]  # type: ignore[index]
        if isinstance(child, (dict, list)):
            found += places(child)
    return found


@settings(deadline=None)
@given(manifests, json_values, st.data())
def test_a_replaced_value_gives_a_manifest_or_a_snow_error(
    manifest: Manifest, value: object, data: st.DataObject
) -> None:
    document = json.loads(manifest.to_json())
    container, key = data.draw(st.sampled_from(places(document)))
    container[key] = value
    try:
        again = Manifest.from_json(json.dumps(document))
    except SnowError:
        return
    assert Manifest.from_json(again.to_json()) == again


@settings(deadline=None)
@given(json_values)
def test_other_json_is_a_manifest_error(value: object) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_json(json.dumps(value))


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"format":' * 50_000, '{"format":' + "1" * 5_000 + "}", "", "null", "NaN"],
)
def test_hostile_json_is_a_manifest_error(text: str) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_json(text)


def changed(manifest: Manifest, *path: Any, value: Any) -> str:
    document = json.loads(manifest.to_json())
    container = document
    for step in path[:-1]:
        container = container[step]
    container[path[-1]] = value
    return json.dumps(document)


def test_a_task_of_one_answer_is_written_as_before_there_were_others(manifest: Manifest) -> None:
    several = replace(manifest.tasks[0], answers="several")
    mixed = replace(manifest, tasks=(several, *manifest.tasks[1:]))

    assert [task.answers for task in manifest.tasks] == ["one", "one"]
    assert "answers" not in manifest.to_json()
    written = json.loads(mixed.to_json())["tasks"]
    assert [task.get("answers") for task in written] == ["several", None]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), 2, "format 2, expected 1"),
        (("format",), "1", "format '1', expected 1"),
        (("format",), True, "format is True, expected 1"),
        (("layout",), "stacked", "layout is 'stacked', expected 'separate' or 'fused'"),
        (("precision",), "bf16", "precision is 'bf16'"),
        (("colour",), "rgb", "a field in the document is 'colour'"),
        (("tasks", 0, "answers"), "many", "answers is 'many', expected 'one' or 'several'"),
        (("input", "dtype"), "int8", "input.dtype is 'int8', expected 'float32' or 'uint8'"),
        (("input", "dtype"), "uint8", "input.layout is 'NCHW', expected 'NHWC'"),
        (("input", "colour"), "bgr", "input.colour is 'bgr', expected 'rgb'"),
        (("input", "layout"), "NHWC", "input.layout is 'NHWC'"),
        (("input",), "image", "input is 'image', expected a table"),
        (("source", "sha256"), "A" * 64, "source.sha256"),
        (("source", "parameters"), 1.5, "source.parameters is 1.5"),
        (("preprocessing", "image_size"), 0, "preprocessing.image_size is 0"),
        (("preprocessing", "image_size"), 10**9, "preprocessing.image_size is 1000000000"),
        (("preprocessing", "resize_size"), 7, "resize_size is 7, expected a whole number from 8"),
        (("preprocessing", "mean"), [0.5], "three numbers"),
        (("preprocessing", "std"), [0.2, 0.2, 0], "numbers above 0"),
        (("tasks",), [], "tasks is"),
        (("tasks",), {}, "tasks is"),
        (("tasks", 0, "name"), "Food", "'Food'"),
        (("tasks", 0, "name"), 3, "a task's name is 3"),
        (("tasks", 0, "name"), "birds", "each of them once"),
        (("tasks", 0, "output"), "birds", "each of them once"),
        (("tasks", 0, "output"), "image", "each of them once"),
        (("tasks", 0, "labels"), [], "task 'food': labels"),
        (("tasks", 0, "labels"), "abc", "task 'food': labels"),
        (("tasks", 0, "labels"), ["a", ""], "task 'food': labels[1] is ''"),
        (("tasks", 0, "k_divisor"), 0, "task 'food': k_divisor is 0"),
        (("tasks", 0, "scheme"), 7, "task 'food': scheme is 7"),
        (("tasks", 0, "selections"), {"a": [2, 1]}, "ascending"),
        (("tasks", 0, "metrics"), {"a": "high"}, "'high', expected a finite number"),
        (("versions",), {"torch": 2}, "versions['torch'] is 2"),
    ],
)
def test_each_field_is_checked_and_named(
    manifest: Manifest, path: tuple[Any, ...], value: Any, message: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(changed(manifest, *path, value=value))
    assert message in str(caught.value)
    assert "export" in str(caught.value).lower() or "Choose another name" in str(caught.value)


@pytest.mark.parametrize("field", ["source", "preprocessing", "tasks", "format"])
def test_a_missing_field_is_a_manifest_error(manifest: Manifest, field: str) -> None:
    document = json.loads(manifest.to_json())
    del document[field]
    with pytest.raises(ManifestError, match=field):
        Manifest.from_json(json.dumps(document))


def test_a_name_given_twice_is_refused(manifest: Manifest) -> None:
    text = manifest.to_json().replace('"layout":', '"layout":"fused","layout":', 1)
    with pytest.raises(ManifestError, match="once"):
        Manifest.from_json(text)


def test_the_text_has_its_names_sorted(manifest: Manifest) -> None:
    document = json.loads(manifest.to_json())
    assert list(document) == sorted(document)
    reordered = replace(manifest, versions={"b": "1", "a": "2"})
    assert reordered.to_json() == replace(manifest, versions={"a": "2", "b": "1"}).to_json()


def test_fields_are_copied_and_hashable(manifest: Manifest) -> None:
    versions = {"torch": "2.9"}
    made = replace(manifest, versions=versions)
    versions["torch"] = "changed"
    assert made.versions == {"torch": "2.9"}
    assert len({made, replace(made)}) == 1


def test_labels_may_repeat_as_in_imagenet() -> None:
    assert TaskEntry("source", "source", ("crane", "crane")).labels == ("crane", "crane")


def test_the_default_input_is_image() -> None:
    assert InputEntry() == InputEntry("image", "float32", "NCHW")


def test_task_finds_by_name_or_lists_the_known(manifest: Manifest) -> None:
    assert manifest.task("birds").labels == ("wren", "gull")
    with pytest.raises(ManifestError, match="no task 'cars': expected one of food, birds"):
        manifest.task("cars")


@pytest.mark.parametrize(("size", "resized"), [(224, 256), (112, 128), (128, 146), (64, 73)])
def test_for_size_keeps_imagenets_proportion(size: int, resized: int) -> None:
    preprocessing = Preprocessing.for_size(size)
    assert (preprocessing.image_size, preprocessing.resize_size) == (size, resized)
    assert preprocessing.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("name", ["a", "food-101", "cub_200", "x" * 64])
def test_good_task_names(name: str) -> None:
    assert check_task_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "1a", "-a", "a b", "a/b", "é", "a\n", "a.b", "x" * 65, "image", "input", "source"],
)
def test_bad_task_names(name: str) -> None:
    with pytest.raises(ManifestError, match="Choose another name"):
        check_task_name(name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("graph_sha256", "0"),
        ("data_sha256", None),
        ("method", ""),
        ("samples", 0),
        ("rest", "int8"),
        ("layers", -1),
        ("kept", None),
        ("kept", 0),
        ("kept", ""),
        ("kept", {}),
        ("kept", [3]),
    ],
)
def test_a_damaged_quantisation_is_refused(field: str, value: object) -> None:
    good: dict[str, Any] = {
        "graph_sha256": "0" * 64,
        "method": "mse",
        "samples": 20,
        "data_sha256": "1" * 64,
        "rest": "fp16",
        "layers": 3,
        "kept": [],
    }
    assert Quantisation(**good).kept == ()

    with pytest.raises(ManifestError, match=field):
        Quantisation(**(good | {field: value}))


def test_source_is_a_name_where_allowed() -> None:
    assert check_task_name("source", allow_source=True) == "source"
    with pytest.raises(ManifestError):
        check_task_name("image", allow_source=True)
