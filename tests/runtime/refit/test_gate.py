"""Whether a new version takes the place of the old one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snow_runtime.refit.compare import Judged, wrong_by
from snow_runtime.refit.evidence import HeldOutEvidence
from snow_runtime.refit.gate import decide
from tests.runtime.readout.graphs import feature_graph, make_readout

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = ("cat", "dog", "none")


def evidence(ids: Any, targets: Any, logits: NDArray[Any], labels: Any = LABELS) -> HeldOutEvidence:
    count = len(ids)
    return HeldOutEvidence(
        np.asarray(ids),
        labels,
        np.asarray(targets),
        logits.astype(np.float32),
        np.arange(count),
        np.zeros(count, np.bool_),
    )


def test_each_answers_what_it_has_not_seen(tmp_path: Path) -> None:
    readout = make_readout(feature_graph(tmp_path / "graph.onnx"))
    features = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    fresh = readout.logits(features).argmax(axis=1)
    held_out = np.eye(3)[(fresh[:2] + 1) % 3]  # out of sample it said otherwise
    known = evidence([5, 6], fresh[:2], held_out)
    moments = np.array([0, 1, 1, 2, 3, 4])
    judged = Judged(np.array([5, 6, 7, 8, 9, 10]), features, LABELS, fresh, moments)

    wrong, fair = wrong_by(readout, known, judged)

    assert wrong.tolist() == [1, 1, 0, 0, 0, 0]
    assert fair.tolist() == [True, True, False, True, True, True]  # 7 is of 6's moment


def test_labels_that_are_new_or_gone_are_wrong_answers(tmp_path: Path) -> None:
    readout = make_readout(feature_graph(tmp_path / "graph.onnx"))
    known = evidence([1, 2, 3], [0, 1, 2], np.eye(3))
    now = ("dog", "cat", "fox")  # none is gone, fox is new
    judged = Judged(np.array([1, 2, 3]), np.zeros((3, 8)), now, np.array([1, 0, 2]), np.arange(3))

    assert wrong_by(readout, known, judged)[0].tolist() == [0, 0, 1]


def test_the_gate(tmp_path: Path) -> None:
    readout = make_readout(feature_graph(tmp_path / "graph.onnx"))
    ids, targets = np.arange(40), np.arange(40) % 3
    right = np.eye(3)[targets]
    some = right.copy()
    some[:8] = 1 - some[:8]
    good, bad = (readout, evidence(ids, targets, right)), (readout, evidence(ids, targets, some))
    judged = Judged(ids, np.zeros((40, 8)), LABELS, targets, ids)

    assert decide(None, bad, judged).goes_live
    assert decide(bad, good, judged).goes_live
    assert decide(good, good, judged).goes_live
    held = decide(good, bad, judged)
    assert not held.goes_live
    assert "loses 8 and wins 0 of 40 moments" in held.reason
