"""Fitting a readout on labelled pictures, through a model that may be at work."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from snow_runtime.errors import (
    FitError,
    GraphError,
    InputError,
    ManifestError,
    MissingDependencyError,
    ReadoutError,
)
from snow_runtime.learn.collect import look_at
from snow_runtime.learn.fit import fit
from snow_runtime.model import Model, load
from snow_runtime.readout.file import ReadoutFile
from snow_runtime.swap import SwappableModel
from tests.runtime.readout.graphs import (
    SIZE,
    TAPS,
    FeatureGraph,
    feature_graph,
    manifest_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

pytest.importorskip("scipy")
pytest.importorskip("threadpoolctl")
COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red": (200, 50, 40)}
Pixels = Any


def draw(each: int, seed: int = 0) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """Draw noisy pictures of three colours, in turns."""
    rng = np.random.default_rng(seed)
    labels = [label for _ in range(each) for label in COLOURS]
    pixels = [
        (np.array(COLOURS[label]) + rng.normal(0, 25, (SIZE, SIZE, 3))).clip(0, 255).astype("u1")
        for label in labels
    ]
    return pixels, labels


@pytest.fixture
def graph(tmp_path: Path) -> FeatureGraph:
    return feature_graph(tmp_path / "graph.onnx")


@pytest.fixture
def model(graph: FeatureGraph) -> Iterator[Model]:
    with load(graph.path, ["CPUExecutionProvider"]) as model:
        yield model


@pytest.fixture
def photos(tmp_path: Path) -> tuple[list[Path], list[str]]:
    """Save pictures without loss."""
    pixels, labels = draw(6)
    paths = [tmp_path / f"{number}.png" for number in range(len(pixels))]
    for path, each in zip(paths, pixels, strict=True):
        Image.fromarray(each).save(path)
    return paths, labels


def test_a_new_task_on_a_running_model(graph: FeatureGraph, model: Model, tmp_path: Path) -> None:
    pictures, labels = draw(8)
    readout = fit(model, pictures, labels, name="colour")

    readout.write(tmp_path / "colour.readout")
    model.add_readout(tmp_path / "colour.readout")

    others, right = draw(5, seed=1)
    results = model.batch(others)
    assert [result["colour"].label for result in results] == right
    # By hand, in float64: what the file says of itself is what the model answers.
    found = ReadoutFile.read(tmp_path / "colour.readout")
    logits = graph.features(np.array(others))[:, found.index] @ found.weight.T + found.bias
    logits = logits / found.facts.task.temperature
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    answered = np.array([result["colour"].probabilities for result in results])
    np.testing.assert_allclose(answered, share, atol=1e-4)


def test_the_file_tells_what_it_was_fitted_on(graph: FeatureGraph, model: Model) -> None:
    pictures, labels = draw(5)
    heard: list[tuple[str, float]] = []
    facts = fit(
        model,
        pictures[:-1],
        labels[:-1],
        name="colour",
        progress=lambda phase, share: heard.append((phase, share)),
    ).facts

    assert facts.task.name == "colour"
    assert facts.task.scheme == "readout"
    assert facts.task.labels == ("blue", "green", "red")
    assert facts.source == graph.manifest.source
    assert facts.preprocessing == graph.manifest.preprocessing
    assert facts.taps == TAPS
    assert (facts.fit.pictures, facts.fit.counts) == (14, (5, 5, 4))
    assert 0.9 < facts.fit.accuracy <= 1
    assert facts.versions["numpy"] == np.__version__
    assert [share for _, share in heard] == [(number + 1) / 14 for number in range(14)]


def test_the_same_again_is_the_same(model: Model) -> None:
    pictures, labels = draw(5)
    one, other = (fit(model, pictures, labels, name="colour") for _ in range(2))

    assert one.facts == other.facts
    np.testing.assert_array_equal(one.weight, other.weight)


def test_photos_arrays_and_a_cameras_order_of_colours_give_the_same(
    model: Model, photos: tuple[list[Path], list[str]]
) -> None:
    paths, labels = photos
    pixels, _ = draw(6)
    one = fit(model, map(str, paths), labels, name="colour")
    for pictures, colour in (
        (pixels, "rgb"),
        ([each[..., ::-1] for each in pixels], "bgr"),
        ([Image.fromarray(each) for each in pixels], "rgb"),
    ):
        other = fit(model, pictures, labels, name="colour", colour=colour)  # type: ignore[arg-type]
        np.testing.assert_array_equal(one.weight, other.weight)


def test_several_labels_at_once(graph: FeatureGraph, model: Model, tmp_path: Path) -> None:
    """Whether a picture is red, and whether it is bright: any number of the two."""
    rng = np.random.default_rng(0)
    shown = [(red, bright) for _ in range(8) for red in (0, 1) for bright in (0, 1)]
    pixels = [
        (np.array([90 + 50 * red, 70, 70]) + 80 * bright + rng.normal(0, 9, (SIZE, SIZE, 3)))
        .clip(0, 255)
        .astype("u1")
        for red, bright in shown
    ]
    labels = [[*["red"] * red, *["bright"] * bright] for red, bright in shown]
    fit(model, pixels[:24], labels[:24], name="look").write(tmp_path / "look.readout")
    readout = model.add_readout(tmp_path / "look.readout")

    assert readout.facts.task.answers == "several"
    assert readout.facts.task.labels == ("bright", "red")
    assert readout.facts.fit.counts == (12, 12)
    results = model.batch(pixels[24:])
    found = [sorted(label for label, _ in result["look"].present()) for result in results]
    assert found == [sorted(each) for each in labels[24:]]
    logits = graph.features(np.array(pixels[24:]))[:, readout.index] @ readout.weight.T
    scaled = (logits + readout.bias) / readout.facts.task.temperature
    expected = 1 / (1 + np.exp(-scaled))
    answered = np.array([result["look"].probabilities for result in results])
    np.testing.assert_allclose(answered, expected, atol=1e-4)


@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_a_graph_of_any_batch_size_gives_the_same(tmp_path: Path, batch: int | str) -> None:
    graph = feature_graph(tmp_path / "graph.onnx", batch=batch)
    pictures, labels = draw(7)
    with load(graph.path, ["CPUExecutionProvider"]) as model:
        seen = look_at(model, pictures, labels)

    expected = graph.features(np.array(pictures))
    np.testing.assert_allclose(seen.features, expected, rtol=2e-3, atol=1e-3)
    assert seen.features.dtype == np.float16
    assert [seen.targets.labels[target] for target in seen.targets.values] == labels


def test_photos_that_cannot_be_read_are_left_out_and_counted(
    model: Model, photos: tuple[list[Path], list[str]]
) -> None:
    paths, labels = photos
    paths[3].write_bytes(paths[3].read_bytes()[:40])
    paths[4].write_text("none")
    paths[5].unlink()
    seen = look_at(model, paths, labels)

    assert len(seen.features) == 15
    (remark,) = seen.remarks
    assert remark.startswith("3 pictures could not be read, and left out: ")
    assert str(paths[3]) in remark
    rest = [number for number in range(18) if number not in {3, 4, 5}]
    expected = fit(model, [paths[n] for n in rest], [labels[n] for n in rest], name="colour")
    np.testing.assert_array_equal(fit(model, paths, labels, name="colour").weight, expected.weight)


def test_no_photo_that_can_be_read(model: Model, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    paths = [tmp_path / "folder", *(tmp_path / f"{number}.jpg" for number in range(3))]
    with pytest.raises(FitError, match=r"None of the 4 pictures could be read.*folder is no plain"):
        fit(model, paths, ["a", "a", "b", "b"], name="x")


def untouched() -> Iterator[Pixels]:
    pytest.fail("a picture was looked at")
    yield


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "a", "b"], r"b \(1\), expected 2 or more of each class"),
        (["a", "b", "c"], r"Too few pictures: a \(1\), b \(1\), c \(1\)"),
        (["a", "a"], "There is one class, a, expected two or more"),
        ([[], []], "None of the 2 pictures has a label"),
        ([["a"], ["a"]], r"a \(2 with it, 0 without\)"),
        ([], "M being 1 or more"),
    ],
)
def test_too_little_is_said_before_a_picture_is_read(
    model: Model, labels: list[Any], message: str
) -> None:
    with pytest.raises(FitError, match=message):
        fit(model, untouched(), labels, name="x")


@pytest.mark.parametrize("odd", [1, None, "", (1,), ("",)])
def test_a_label_is_a_text(model: Model, odd: Any) -> None:
    with pytest.raises(FitError, match="expected a text that is not empty"):
        fit(model, untouched(), ["a", "a", odd, odd], name="x")


def test_one_label_or_lists_of_them(model: Model) -> None:
    with pytest.raises(FitError, match="Some pictures have one label and others a list"):
        fit(model, untouched(), ["a", "a", ["b"], ["b"]], name="x")


def test_too_little_that_can_be_read(model: Model, photos: tuple[list[Path], list[str]]) -> None:
    paths, labels = photos
    for number in range(0, 15, 3):  # all blue ones but the last
        paths[number].write_text("none")
    with pytest.raises(FitError, match=r"blue \(1\), expected 2 or more"):
        fit(model, paths, labels, name="x")


def test_copies_count_once(model: Model) -> None:
    pictures, labels = draw(5)
    seen = look_at(model, [*pictures, pictures[0], pictures[1]], [*labels, labels[0], labels[1]])

    assert len(seen.features) == 15
    (remark,) = seen.remarks
    assert remark.startswith("2 pictures are copies of others of the same labels and count once")
    assert remark.endswith("such as picture 15 and picture 0")


def test_a_picture_under_two_labels_is_told(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    pictures, labels = draw(5)
    fit(model, [*pictures, pictures[0]], [*labels, labels[1]], name="x")

    assert "under different labels, such as picture 0 and picture 15" in caplog.text


@pytest.mark.parametrize("count", [14, 16])
@pytest.mark.parametrize("kind", [list, iter])
def test_as_many_labels_as_pictures(model: Model, count: int, kind: Any) -> None:
    pictures, labels = draw(5)
    with pytest.raises(FitError, match=r"There are \d+ pictures.* and 15 labels, expected one"):
        fit(model, kind([*pictures, pictures[0]][:count]), labels, name="x")


def test_a_picture_that_is_none_is_named(model: Model) -> None:
    pictures, labels = draw(5)
    wrong: list[Any] = [*pictures[:7], pictures[7].astype(np.float32), *pictures[8:]]
    with pytest.raises(InputError, match="picture 7: The image is a float32 array"):
        fit(model, wrong, labels, name="x")


@pytest.mark.parametrize("scale", [np.nan, np.inf, 1e7])
def test_features_that_are_no_numbers_are_told(tmp_path: Path, scale: float) -> None:
    graph = feature_graph(tmp_path / "graph.onnx", scale=scale)
    pictures, labels = draw(5)
    with load(graph.path) as model, pytest.raises(FitError, match="of picture 0 are NaN, infinite"):
        fit(model, pictures, labels, name="x")


def test_a_graph_without_features_says_how_to_get_them(tmp_path: Path) -> None:
    graph = feature_graph(tmp_path / "graph.onnx", manifest_of(features=False))
    with load(graph.path) as model, pytest.raises(ReadoutError, match="export --features"):
        fit(model, untouched(), ["a", "a", "b", "b"], name="x")


def test_what_would_fail_at_the_end_fails_at_the_beginning(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ManifestError, match="A task cannot be called 'Door'"):
        fit(model, untouched(), ["a", "a", "b", "b"], name="Door")

    for name in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingDependencyError, match=r"scipy .*cannot be imported.*learn"):
        fit(model, untouched(), ["a", "a", "b", "b"], name="door")


def test_a_closed_model(model: Model) -> None:
    model.close()
    pictures, labels = draw(5)
    with pytest.raises(GraphError, match="is closed"):
        fit(model, pictures, labels, name="x")


def test_a_swap_meanwhile_takes_no_part(tmp_path: Path, graph: FeatureGraph) -> None:
    """The features are all of the graph that was there at the beginning."""
    source = replace(graph.manifest.source, sha256="c" * 64)
    other = feature_graph(tmp_path / "other.onnx", replace(graph.manifest, source=source), scale=3)
    pictures, labels = draw(8)

    def shown(model: SwappableModel) -> Iterator[Pixels]:
        for number, picture in enumerate(pictures):
            if number == 10:
                model.swap(other.path)
            yield picture

    with load(graph.path) as alone:
        expected = fit(alone, pictures, labels, name="x")
    with SwappableModel(load(graph.path)) as model:
        found = fit(model, shown(model), labels, name="x")

        assert model.swaps == 1
        assert found.facts == expected.facts
        np.testing.assert_array_equal(found.weight, expected.weight)
        with pytest.raises(ReadoutError, match="reads the source small aaaaaaaaaaaa, expected"):
            model.add_readout(found)


def test_a_picture_unlike_those_fitted_on_is_unknown(model: Model, tmp_path: Path) -> None:
    """What was fitted travels in the file, and the answer tells; the label stays what it is."""
    pictures, labels = draw(40)
    fit(model, pictures, labels, name="colour").write(tmp_path / "colour.readout")
    readout = model.add_readout(tmp_path / "colour.readout")
    confidence = readout.facts.task.confidence
    assert confidence is not None
    assert confidence.held_out_from == "cross-validation"
    assert confidence.familiarity is not None

    others, right = draw(30, seed=1)
    answers = [result["colour"] for result in model.batch(others)]
    assert [each.label for each in answers] == right
    assert np.mean([each.unknown for each in answers]) < 0.2
    assert all(each.unlikeness is not None for each in answers)
    magenta = np.full((SIZE, SIZE, 3), (255, 0, 255), np.uint8)
    answer = model(magenta)["colour"]
    assert (answer.unknown, answer.unknown_because) == (True, "unlike training")
    assert model(magenta).to_dict()["tasks"]["colour"]["unknown"] == "unlike training"
    assert "unknown" not in model(magenta).to_dict(unknown=False)["tasks"]["colour"]
    assert "colour=unknown (unlike training)" in repr(model(magenta))
