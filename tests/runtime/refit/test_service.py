"""From labels to a readout that answers, whatever ends meanwhile."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from snow_runtime.errors import ReadoutError
from snow_runtime.refit.gate import GateDecision
from snow_runtime.refit.service import RefitService
from tests.runtime.readout.graphs import feature_graph, manifest_of
from tests.runtime.refit.boxes import (
    COLOURS,
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
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.collection.collection import Collection
    from snow_runtime.swap import SwappableModel

pytest.importorskip("scipy")
pytest.importorskip("threadpoolctl")


@pytest.fixture
def service(box: Collection, model: SwappableModel) -> Iterator[RefitService]:
    service = RefitService(box, model, options=QUICK, begin=InlineFit)
    service.start()
    yield service
    service.stop()


@pytest.fixture
def real_service(box: Collection, model: SwappableModel) -> Iterator[RefitService]:
    service = RefitService(box, model, options=QUICK)
    service.start()
    yield service
    service.stop()


def answers(model: SwappableModel, count: int = 10, seed: int = 99) -> float:
    """Give the share of right answers about new pictures."""
    rng = np.random.default_rng(seed)
    shown = [list(COLOURS)[number % 2] for number in range(count)]
    pictures = [Image.open(io.BytesIO(jpeg_of(each, rng))).convert("RGB") for each in shown]
    said = [result["colour"].label for result in model.batch(pictures)]
    return float(np.mean([one == other for one, other in zip(said, shown, strict=True)]))


def test_labels_become_a_readout_that_answers_and_tells_what_it_is_worth(
    service: RefitService, model: SwappableModel
) -> None:
    assert until(live_of(service)) == 1
    assert answers(model) == 1

    (version,) = service.versions("colour")
    assert version.state == "live"
    assert version.labels == {"blue": 8, "red": 8}
    assert version.honest is not None
    assert version.honest.pictures == version.honest.moments == 16
    assert version.honest.low < version.honest.accuracy <= version.honest.high
    until(lambda: "curve" in service.report("colour"))
    report = service.report("colour")
    assert sum(len(ids) for row in report["confusion"].values() for ids in row.values()) == 16
    assert report["labels"] == {"blue": 8, "red": 8}
    assert report["curve"][-1]["answers"] == 16


def test_more_labels_make_a_version_more_and_none_is_overwritten(
    service: RefitService, box: Collection, model: SwappableModel
) -> None:
    until(live_of(service))
    first = (box.folder / "versions/colour/0001.readout").read_bytes()
    label(box, fill(box, model, 4, seed=1))
    service.request("colour")

    until(lambda: live_of(service)() == 2)
    one, two = service.versions("colour")
    assert (one.state, two.state) == ("retired", "live")
    assert "no worse" in two.reason
    assert one.data_sha256 != two.data_sha256
    assert (box.folder / "versions/colour/0001.readout").read_bytes() == first

    assert service.go_back("colour", 1).state == "live"
    assert [each.state for each in service.versions("colour")] == ["live", "retired"]
    assert model.readouts[0].facts == service.live[0].facts
    with pytest.raises(ReadoutError, match="no version 7, expected one of: 1, 2"):
        service.go_back("colour", 7)
    assert service.status("colour")["live"] == 1


def test_a_version_that_is_held_back_can_be_taken_by_hand(
    service: RefitService, box: Collection, model: SwappableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(live_of(service))
    held = GateDecision(goes_live=False, reason="it seems worse than the live one")
    monkeypatch.setattr("snow_runtime.refit.fitter.decide", lambda *_: held)
    label(box, fill(box, model, 2, seed=1))
    until(lambda: len(service.versions("colour")) == 2 and live_of(service)())

    one, two = service.versions("colour")
    assert (one.state, two.state, two.reason) == ("live", "candidate", held.reason)
    assert model.readouts == service.live
    assert service.go_back("colour", 2).reason == "chosen by hand"
    assert [each.state for each in service.versions("colour")] == ["retired", "live"]


def test_a_shadow_answers_unheard_and_then_the_gate_decides(
    service: RefitService, box: Collection, model: SwappableModel
) -> None:
    until(live_of(service))
    label(box, fill(box, model, 3, seed=1))
    service.request("colour")
    until(lambda: live_of(service)() == 2)
    with pytest.raises(ReadoutError, match="is the live one itself"):
        service.shadow("colour", 2, 5)

    service.shadow("colour", 1, 0.5)
    rng = np.random.default_rng(5)
    with model.held() as held:
        for _ in range(6):
            image = Image.open(io.BytesIO(jpeg_of("red", rng))).convert("RGB")
            results, outputs = held.answer_with_outputs(held.prepare([image]))
            service.saw("door", "", outputs["source.features"][0], results[0])
            service.saw("yard", "", outputs["source.features"][0], results[0])  # not asked there
    assert service.status("colour")["shadow"]["agreed"] == 6
    assert service.versions("colour")[0].state == "shadow"

    until(lambda: service.status("colour")["shadow"] is None)
    assert "shadow" not in {each.state for each in service.versions("colour")}


def test_what_was_live_is_live_after_a_start(box: Collection, model: SwappableModel) -> None:
    service = RefitService(box, model, options=QUICK, begin=InlineFit)
    service.start()
    until(live_of(service))
    service.stop()
    model.remove_readout("colour")

    again = RefitService(box, model, options=QUICK, begin=InlineFit)
    again.start()
    assert model.tasks[-1] == "colour"
    time.sleep(0.3)
    again.stop()
    assert len(again.versions("colour")) == 1  # nothing was fitted anew


def test_another_source_is_told_and_fitted_for(
    box: Collection, model: SwappableModel, tmp_path: Path
) -> None:
    service = RefitService(box, model, options=QUICK, begin=InlineFit)
    service.start()
    until(live_of(service))
    service.stop()
    other = replace(manifest_of(), source=replace(manifest_of().source, sha256="c" * 64))
    path = feature_graph(tmp_path / "other.onnx", other).path
    model.swap(path, readouts=(), where_fit=service.live)
    assert "colour" not in model.tasks

    again = RefitService(box, model, options=QUICK, begin=InlineFit)
    again.start()
    assert "it reads the source" in again.status("colour")["text"]
    until(lambda: live_of(again)() == 2)  # from features that were looked at anew
    again.stop()
    assert answers(model) == 1


def test_the_same_labels_again_are_not_fitted_again(
    service: RefitService, box: Collection, model: SwappableModel
) -> None:
    until(live_of(service))
    some = fill(box, model, 1, seed=4)
    label(box, some)
    box.undo("colour", "me")
    box.undo("colour", "me")
    service.request("colour")
    until(lambda: service._asked["colour"].wanted_since is None)
    time.sleep(0.1)
    until(live_of(service))
    assert service.versions("colour")[-1].labels == {"blue": 8, "red": 8}
    assert len({each.data_sha256 for each in service.versions("colour")}) == len(
        service.versions("colour")
    )


def test_too_few_labels_are_told(model: SwappableModel, tmp_path: Path) -> None:
    with open_box(tmp_path / "few", model, each=1) as box:
        service = RefitService(box, model, options=QUICK)
        service.start()
        until(lambda: service.status("colour")["phase"] == "lacking")
        assert "blue (1), red (1), expected 2 pictures" in service.status("colour")["text"]
        service.stop()


def test_a_question_that_is_removed_is_answered_no_more(
    service: RefitService, box: Collection, model: SwappableModel
) -> None:
    until(live_of(service))
    box.remove_question("colour")
    until(lambda: "colour" not in model.tasks)
    assert service.versions("colour") == ()


def test_a_fit_that_is_killed_leaves_the_old_version_and_says_so(
    real_service: RefitService, box: Collection, model: SwappableModel
) -> None:
    service = real_service
    until(live_of(service))
    label(box, fill(box, model, 2, seed=1))
    service.request("colour")
    fitting = until(
        lambda: (
            service._fitter.current
            and len(service._fitter.current.job.ids) == 20
            and service._fitter.current
        )
    )
    os.kill(fitting.process.pid, signal.SIGKILL)
    until(lambda: service.status("colour")["phase"] == "failed")

    assert "ended by signal 9" in service.status("colour")["text"]
    assert answers(model) == 1
    assert len(service.versions("colour")) == 1
    until(lambda: not list((box.folder / "versions/colour").glob(".fit-*")))


KILLED = """
import os, signal, sys
from pathlib import Path
from snow_runtime.collection.collection import Collection
from snow_runtime.model import load
from snow_runtime.refit import fitting, process, service as at_work, switch, versions
from snow_runtime.swap import SwappableModel
from tests.runtime.refit.boxes import QUICK, live_of, until

graph, folder, phase = sys.argv[1:]


def end(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


if phase == "readout":  # its file is in place, the version is not whole
    at = versions.sync_folder
    versions.sync_folder = end
elif phase == "switch":  # the version is whole, and not yet live
    switch.Versions.put_state = end
model = SwappableModel(load(graph, ["CPUExecutionProvider"], 1))
service = at_work.RefitService(Collection.open(folder), model, options=QUICK)
service.start()
service.request("colour")
fitting = until(lambda: service._fitter.current)
print(fitting.process.pid, flush=True)
if phase == "fit":
    end()
until(lambda: False)
"""


@pytest.mark.parametrize(
    "phase",
    ["fit", *(pytest.param(phase, marks=pytest.mark.slow) for phase in ("readout", "switch"))],
)
def test_a_kill_in_any_phase_leaves_the_old_version_or_the_new_one(
    phase: str, box: Collection, model: SwappableModel, tmp_path: Path
) -> None:
    service = RefitService(box, model, options=QUICK, begin=InlineFit)
    service.start()
    until(live_of(service))
    service.stop()
    label(box, fill(box, model, 2, seed=1))
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "graph.onnx"), str(box.folder), phase],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    pid = int(process.stdout)
    until(lambda: not _runs(pid), 10)  # the process that fits ends with its parent

    model.remove_readout("colour")  # as in a process of its own
    again = RefitService(box, model, options=QUICK, begin=InlineFit)
    again.start()
    assert service.versions("colour")[0].state == "live"
    assert answers(model) == 1
    number = until(lambda: live_of(again)() not in {False, None, 1} and live_of(again)())
    again.stop()
    assert {each.state for each in again.versions("colour")} == {"retired", "live"}
    assert again.versions("colour")[-1].number == number
    assert len(box.labels("colour")) == 20
    assert not list((box.folder / "versions/colour").glob(".fit-*"))


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stream:  # noqa: PTH123
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
