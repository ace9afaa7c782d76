"""How reliable a run's final answers were, beside them in its folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from snow_deploy.errors import StoreError
from snow_runtime.confidence.find import reliability_of
from snow_runtime.confidence.reliability import Reliability, ReliabilityBin
from snow_runtime.files import atomic_write, writing

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.training.measure import Measured
    from snow_runtime.graph.confidence_entry import ConfidenceEntry

FILE: Final = "reliability.json"
"""In a task's run folder."""
_written: Final = set[str]()


def write_reliability(
    folder: Path, measured: Measured, confidence: ConfidenceEntry | None
) -> dict[str, float]:
    """Write how reliable the final answers are, with and without their temperature.

    Returns:
        The figures for the task's metrics: `calibration_error` and `brier`; with a temperature that
        too, and both of them `plain`, without it.

    Raises:
        StoreError: It cannot be written.
    """
    plain = reliability_of(measured.logits, measured.targets)
    found, metrics = plain, dict[str, float]()
    if confidence is not None:
        found = reliability_of(measured.logits, measured.targets, confidence.temperature)
        metrics = {f"plain_{name}": value for name, value in plain.metrics().items()}
        metrics["temperature"] = confidence.temperature
    path = folder / FILE
    with writing(path, StoreError, "Free space or access, then go on with --resume."):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "w") as file:
            json.dump({"calibrated": found.to_dict(), "plain": plain.to_dict()}, file, indent=1)
    _written.add(str(path.resolve()))
    return {**found.metrics(), **metrics}


def is_new(folder: Path) -> bool:
    """Tell whether this process has written such a file into a run's folder."""
    return str((folder / FILE).resolve()) in _written


def read_reliability(folder: Path) -> dict[str, Reliability]:
    """Read what a run left: `calibrated` and `plain`.

    Raises:
        OSError, ValueError, KeyError, TypeError: It is not there, or damaged.
    """
    document = json.loads((folder / FILE).read_text("utf-8"))
    return {name: _read(document[name]) for name in ("calibrated", "plain")}


def _read(facts: dict[str, Any]) -> Reliability:
    bins = tuple(ReliabilityBin(**each) for each in facts.pop("bins"))
    return Reliability(**facts, bins=bins)
