"""What the gate of a calibration measured of INT8: accuracies by task, from its report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from snow_deploy.errors import PlanError
from snow_deploy.plan.accuracy import counted, estimated
from snow_deploy.plan.json_file import WRONG, read_json, reason_of
from snow_runtime.graph.onnx_file import read_graph

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from snow_deploy.plan.accuracy import Accuracy
    from snow_deploy.training.task_record import TaskRecord

_SAME_ACCURACY: Final = 0.01  # other builds of a runtime round differently
_SAME_PICTURES: Final = 1.5


@dataclass(frozen=True)
class GateScore:
    """What INT8 costs one task.

    Attributes:
        pictures: Number of pictures that both precisions answered.
        fp32: Share that fp32 answered rightly, 0 to 1.
        int8: Share that INT8 did.
        lost: Pictures answered rightly by fp32 and wrongly by INT8.
        won: Pictures the other way round.
        outcome: What the gate found of the task; empty where it was not judged.
        origin: Path of the graph.
    """

    pictures: int
    fp32: float
    int8: float
    lost: int
    won: int
    outcome: str
    origin: str

    def accuracy(self, stored: Accuracy) -> Accuracy:
        """Return INT8's accuracy, comparable with the stored one.

        Where fp32 answered the same number of pictures as well as is stored, they are the stored
        accuracy's, and it is what the gate measured. Else the gate's drop is taken off the stored
        accuracy; its error and the drop's are added as if they were independent, which overstates
        them.
        """
        slack = max(_SAME_ACCURACY, _SAME_PICTURES / self.pictures)
        if stored.pictures == self.pictures and abs(self.fp32 - stored.value) <= slack:
            return counted(self.int8, self.pictures, stored.kind)
        drop = self.fp32 - self.int8
        share = (self.lost - self.won) / self.pictures
        variance = ((self.lost + self.won) / self.pictures - share * share) / self.pictures
        value = min(1.0, max(0.0, stored.value - drop))
        if stored.error is None:
            return counted(value, None, stored.kind)
        error = math.hypot(stored.error, math.sqrt(max(0.0, variance)))
        return estimated(value, error, self.pictures, stored.kind)


def read_gate_scores(paths: Iterable[Path]) -> dict[str, GateScore]:
    """Read the reports beside calibrated graphs; return the scores by the task's weights' SHA-256.

    Raises:
        PlanError: A graph is not INT8, or its report is missing, damaged or of another graph.
        GraphError: A graph cannot be read.
    """
    found: dict[str, GateScore] = {}
    for path in paths:
        found |= _scores_of(path)
    return found


def score_of(record: TaskRecord, scores: dict[str, GateScore]) -> GateScore | None:
    """Return what a gate measured of a task with these very weights; None where none did."""
    return scores.get(record.fingerprint()) if scores else None


def _scores_of(path: Path) -> dict[str, GateScore]:
    manifest = read_graph(path).manifest
    if manifest is None or manifest.quantisation is None:
        msg = (
            f"{path} is no INT8 graph of ours. Give --int8 a graph that 'snow-deploy calibrate' "
            "wrote; its report lies beside it."
        )
        raise PlanError(msg)
    report = path.with_name(path.name.removesuffix(".onnx") + ".report.json")
    try:
        document = read_json(report)
        origin = str(document["origin"]["graph_sha256"])
        outcomes = {it["task"]: str(it["outcome"]) for it in document["verdicts"]}
        fp32 = {it["task"]: float(it["top1"]) for it in document["fp32"]}
        scores = {
            str(it["task"]): _score(it, fp32[it["task"]], outcomes.get(it["task"], ""), path)
            for it in document["int8"]
        }
    except WRONG as error:
        reason = reason_of(error) if isinstance(error, OSError) else f"{report}: {reason_of(error)}"
        msg = (
            f"the gate's report of {path} cannot be read ({reason}). Keep it beside the graph, as "
            "'snow-deploy calibrate' writes it, or calibrate again."
        )
        raise PlanError(msg) from error
    if origin != manifest.quantisation.graph_sha256:
        msg = (
            f"{report} is of another graph than {path}: it judged one made from {origin[:12]}, and "
            f"this was made from {manifest.quantisation.graph_sha256[:12]}. Calibrate again."
        )
        raise PlanError(msg)
    weights = {task.name: task.sha256 for task in manifest.tasks}
    return {sha256: scores[name] for name, sha256 in weights.items() if sha256 and name in scores}


def _score(entry: dict[str, Any], fp32: float, outcome: str, path: Path) -> GateScore:
    pictures, int8 = int(entry["pictures"]), float(entry["top1"])
    lost, won = int(entry["lost"]), int(entry["won"])
    if pictures < 1 or not 0 <= int8 <= 1 or not 0 <= fp32 <= 1:
        msg = f"{pictures} pictures, top-1 {fp32} and {int8}"
        raise ValueError(msg)
    return GateScore(pictures, fp32, int8, lost, won, outcome, str(path))
