"""What is damaged, deleted or odd holds up nothing but itself."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_runtime.collection.collection import Collection
from snow_runtime.collection.records import CollectionQuestion, NewPicture
from snow_runtime.errors import FitError, ReadoutError
from snow_runtime.refit.evidence import HeldOutEvidence
from snow_runtime.refit.gathering import Looking
from snow_runtime.refit.options import RefitOptions
from snow_runtime.refit.service import RefitService
from snow_runtime.refit.shadow import OTHERS, Shadows
from snow_runtime.refit.versions import Shadow, VersionsState
from snow_runtime.refit.wanted import Wanted
from tests.runtime.readout.graphs import feature_graph, manifest_of
from tests.runtime.refit.boxes import (
    QUICK,
    InlineFit,
    fill,
    jpeg_of,
    label,
    live_of,
    open_box,
    until,
)

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.swap import SwappableModel

pytest.importorskip("scipy")
pytest.importorskip("threadpoolctl")


def slow(content: Any, name: str) -> Any:
    return pytest.param(content, id=name, marks=pytest.mark.slow)


def fitted(box: Collection, model: SwappableModel) -> RefitService:
    """Fit the box's question once, without a service at work."""
    service = RefitService(box, model, options=QUICK, begin=InlineFit)
    version = service.fit_now("colour")
    assert version is not None
    assert version.state == "live"
    return service


@pytest.mark.parametrize(
    "content", [slow(b"", "empty"), slow(b"PK\3\4 nothing", "odd"), pytest.param(None, id="cut")]
)
def test_a_live_version_with_damaged_evidence_stays_until_somebody_decides(
    box: Collection, model: SwappableModel, content: bytes | None
) -> None:
    service = fitted(box, model)
    path = box.folder / "versions/colour/0001.evidence.npz"
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    assert "cannot be read" in service.report("colour", 1)["error"]
    label(box, fill(box, model, 2, seed=1))

    version = service.fit_now("colour")
    assert version is not None
    assert (version.number, version.state) == (2, "candidate")
    assert "cannot be compared with the live one" in version.reason
    assert service.go_back("colour", 2).state == "live"
    label(box, fill(box, model, 2, seed=2))
    assert (service.fit_now("colour") or version).number == 3


def test_a_live_version_whose_readout_is_damaged_gives_way(
    box: Collection, model: SwappableModel
) -> None:
    service = fitted(box, model)
    path = box.folder / "versions/colour/0001.readout"
    path.write_bytes(path.read_bytes()[:-50])
    label(box, fill(box, model, 2, seed=1))
    version = service.fit_now("colour")
    assert version is not None
    assert (version.number, version.state) == (2, "live")


@pytest.mark.parametrize(
    "content",
    [
        slow("", "empty"),
        slow("[1]", "a list"),
        slow('{"live": "x", "shadow": null, "notes": {}}', "live"),
        slow('{"live": 1, "shadow": {"number": 1}, "notes": {}}', "shadow"),
        slow('{"live": 1, "shadow": null, "notes": {"1": ["gone", ""]}}', "note"),
        pytest.param('{"live": 1, "shadow": null, "notes": []}', id="notes"),
    ],
)
def test_a_damaged_state_is_told_and_the_newest_version_comes_back(
    box: Collection, model: SwappableModel, content: str, caplog: Any
) -> None:
    fitted(box, model)
    model.remove_readout("colour")  # as after a start
    (box.folder / "versions/colour/state.json").write_text(content)
    again = RefitService(box, model, options=QUICK, begin=InlineFit)
    assert again.status("colour")["live"] is None
    assert "cannot be read" in caplog.text
    again.start()
    assert until(live_of(again)) == 1
    again.stop()
    assert caplog.text.count("cannot be read") == 1


def test_a_damaged_version_is_left_out_and_the_number_is_its_files(
    box: Collection, model: SwappableModel
) -> None:
    service = fitted(box, model)
    path = box.folder / "versions/colour/0001.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "number": "one"}))
    assert service.versions("colour")[0].number == 1
    for odd in ("[]", json.dumps({**facts, "labels": [1]}), json.dumps({**facts, "labels": 3})):
        path.write_text(odd)
        assert service.versions("colour") == ()


def test_evidence_of_odd_bytes_is_a_value_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / "evidence.npz"
        path.write_bytes(b"PK\3\4" + rng.bytes(number * 10))
        with pytest.raises((ValueError, KeyError, OSError)):
            HeldOutEvidence.read(path)


def test_a_picture_without_finite_features_takes_no_part(
    box: Collection, model: SwappableModel
) -> None:
    width = model.manifest.features.width if model.manifest.features else 0
    rows = np.full((2, width), np.nan, np.float16)
    rows[1] = np.inf
    for number, row in enumerate(rows):
        jpeg = jpeg_of("red", np.random.default_rng(50 + number))
        source = model.manifest.source.sha256
        kept = box.add(NewPicture(jpeg, "door", features=row, source_sha256=source))
        box.label([kept or 0], "colour", "red", "me")
    version = fitted(box, model).versions("colour")[0]
    assert version.labels == {"blue": 8, "red": 8}
    assert "2 labelled pictures could not be read" in " ".join(version.remarks)


def test_a_picture_whose_file_is_gone_takes_no_part(model: SwappableModel, tmp_path: Path) -> None:
    with Collection.open(tmp_path / "kept", create=True) as box:
        box.add_question(CollectionQuestion("colour", ("blue", "red"), "door"))
        label(box, fill(box, model, features=None, source_sha256=""))
        sha256 = box.pictures()[0].sha256
        (box.folder / "pictures" / sha256[:2] / f"{sha256}.jpg").unlink()
        version = fitted(box, model).versions("colour")[0]
        assert sum(version.labels.values()) == 15


def test_features_that_are_looked_at_anew_take_bounded_memory(
    model: SwappableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    width = model.manifest.features.width if model.manifest.features else 0
    monkeypatch.setattr("snow_runtime.refit.gathering._KEPT_BYTES", 3 * 2 * width)
    looking, rng, read = Looking(model), np.random.default_rng(0), []
    source = model.manifest.source.sha256
    pictures = {str(number): jpeg_of("red", rng) for number in range(5)}

    def look(name: str) -> Any:
        def jpeg() -> bytes:
            read.append(name)
            return pictures[name]

        return looking.features(source, name, jpeg)

    first = [look(name) for name in "01234"]
    assert read == list("01234")
    for name in "234":
        assert (look(name) == first[int(name)]).all()
    assert read == list("01234")  # the last three are known
    assert (look("0") == first[0]).all()
    assert read == list("012340")


def test_pictures_that_another_source_looks_at_meanwhile_are_not_mixed_in(
    model: SwappableModel,
) -> None:
    """The model was exchanged amid a fit; what that one sees would be kept as the first one's."""
    looking = Looking(model)
    with pytest.raises(FitError, match="for one on another source"):
        looking.features("of another", "0", lambda: jpeg_of("red", np.random.default_rng(0)))


def test_a_shadow_does_not_outlive_a_newer_version_that_went_live() -> None:
    """It was to be compared with the one before; by then it may lack a class."""
    state = VersionsState(live=1, shadow=Shadow(2, 0.0, 10.0))
    newer = state.with_live(3, "better")
    assert newer.shadow is None
    assert newer.live == 3
    back = state.with_live(1, "somebody went back")
    assert back.shadow == state.shadow


class DeletingFit(InlineFit):
    """A fit during which its question is deleted."""

    box: Collection

    def _begun(self) -> Any:
        begun = super()._begun()
        self.box.delete(everything=True)
        return begun


def test_nothing_of_a_fit_comes_back_after_everything_was_deleted(
    box: Collection, model: SwappableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeletingFit, "box", box, raising=False)
    service = RefitService(box, model, options=QUICK, begin=DeletingFit)
    service.start()
    until(lambda: not box.questions() and service._fitter.current is None)
    service.stop()
    assert not (box.folder / "versions").exists()
    assert "colour" not in model.tasks
    with pytest.raises(ReadoutError, match="cannot be written"):
        service._switch.hold_back("colour", 1, "")
    assert not (box.folder / "versions").exists()


def test_a_question_asked_anew_under_its_old_name_is_not_answered_by_the_old_readout(
    box: Collection, model: SwappableModel
) -> None:
    service = fitted(box, model)
    service.start()
    assert "colour" in model.tasks
    box.remove_question("colour")
    box.add_question(CollectionQuestion("colour", ("dark", "light")))
    until(lambda: "colour" not in model.tasks)
    service.stop()


def test_one_question_that_cannot_be_looked_at_holds_up_no_other(
    box: Collection, model: SwappableModel, caplog: Any
) -> None:
    box.add_question(CollectionQuestion("another", ("blue", "red"), "door"))
    versions = box.folder / "versions"
    versions.mkdir()
    (versions / "another").write_text("a file in the place of a folder")
    ids = [each.id for each in box.pictures()]
    box.label(ids[:4], "another", "blue", "me")
    box.label(ids[4:], "another", "red", "me")
    service = RefitService(box, model, options=QUICK, begin=InlineFit)
    service.start()
    assert until(live_of(service)) == 1
    until(lambda: service.status("another")["phase"] == "failed")
    service.stop()
    assert caplog.text.count("another is not fitted") <= 2  # told, and not again and again


def test_who_has_waited_longest_is_next() -> None:
    options = RefitOptions(most_wait_s=0.0)
    wanted = Wanted()
    assert not wanted.waits_long(options)
    wanted.want()
    assert wanted.waits_long(options)
    assert not wanted.waits_long(RefitOptions())


def test_questions_take_turns(model: SwappableModel, tmp_path: Path) -> None:
    """The first one is labelled all the time; the second one is fitted all the same."""
    with open_box(tmp_path / "kept", model) as box:
        box.add_question(CollectionQuestion("zebra", ("blue", "red"), "door"))
        ids = [each.id for each in box.pictures()]
        box.label(ids[:8], "zebra", "blue", "me")
        box.label(ids[8:], "zebra", "red", "me")
        begun: list[str] = []

        def begin(job: Any, folder: Path, most_s: float) -> InlineFit:
            begun.append(job.name)
            if job.name == "colour":
                box.label(ids[:1], "colour", None if len(begun) % 2 else "blue", "me")
                service.request("colour")
            return InlineFit(job, folder, most_s)

        options = replace(QUICK, quiet_s=0.0)
        service = RefitService(box, model, options=options, begin=begin)
        service.start()
        until(lambda: "zebra" in begun)
        service.stop()
        assert begun.index("zebra") <= 2


def test_a_shadow_that_does_not_fit_the_model_says_nothing(
    box: Collection, model: SwappableModel, tmp_path: Path
) -> None:
    service = fitted(box, model)
    label(box, fill(box, model, 2, seed=1))
    assert (service.fit_now("colour") or service.versions("colour")[1]).number == 2
    service.go_back("colour", 2)
    service.shadow("colour", 1, 3600)
    width = model.manifest.features.width if model.manifest.features else 0
    said = {"colour": model.batch([np.zeros((16, 16, 3), np.uint8)])[0]["colour"]}
    service.saw("door", "", np.zeros(width, np.float32), said)
    before = service.status("colour")["shadow"]
    other = replace(manifest_of(), source=replace(manifest_of().source, sha256="c" * 64))
    model.swap(feature_graph(tmp_path / "other.onnx", other).path, readouts=())
    service.after_swap()
    service._switch.follow(box.question("colour"))
    service.saw("door", "", np.zeros(1, np.float32), said)  # of another network: no error
    found = service.status("colour")["shadow"]
    assert sum(found["differed"].values()) + found["agreed"] <= 1
    state = service._switch.versions("colour").state()
    assert state.shadow is not None
    assert state.shadow.agreed == before["agreed"]  # what was counted is kept


def test_kinds_of_differences_are_counted_together_where_there_are_too_many() -> None:
    shadows, readout = Shadows(), _Says()
    shadows.begin(CollectionQuestion("marks", ("a", "b")), readout)  # type: ignore[arg-type]
    for _ in range(300):
        shadows.saw("gate", "", np.zeros(1, np.float32), {"marks": _heard()})
    agreed, differed = shadows.counts("marks")
    assert (agreed, sum(differed.values())) == (0, 300)
    assert len(differed) == 101
    assert differed[OTHERS] == 200


class _Says:
    """A readout that says something else each time."""

    def __init__(self) -> None:
        self.labels = [f"label {number}" for number in range(300)]
        self.facts: Any = type("F", (), {"task": type("T", (), {"answers": "one"})})
        self._number = 0

    def logits(self, _features: Any) -> Any:
        row = np.zeros((1, 300), np.float32)
        row[0, self._number] = 1
        self._number += 1
        return row


def _heard() -> Any:
    return type("H", (), {"label": "other", "answers": "one"})
