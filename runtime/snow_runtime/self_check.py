"""Whether a loaded model still answers as its graph did when it was written.

The manifest carries the logits that the graph gave for one picture, which anyone can draw. Another
backend, precision or driver may round differently; weights that were damaged, outputs that were
swapped, colours in the wrong order and a miscompiled kernel are far beyond rounding.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.errors import GraphError
from snow_runtime.graph.image_size import height_width
from snow_runtime.graph.manifest import Precision, SelfCheck
from snow_runtime.pictures.preprocessing import as_frame, normalise

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch
    from snow_runtime.backends.session import Session
    from snow_runtime.graph.image_size import ImageSize
    from snow_runtime.graph.manifest import Manifest

SELF_CHECK_TOLERANCES: Final[dict[Precision, float]] = {"fp32": 0.01, "fp16": 0.05, "int8": 0.25}
"""Largest error of a logit by precision, in units of the largest one (at least 1)."""
_DIGITS: Final = 6


def check_picture(size: ImageSize) -> NDArray[np.uint8]:
    """Draw the picture: smooth waves of another length in each channel, and a bright square.

    Args:
        size: Side in pixels, or height and width.

    Returns:
        uint8 `[S, S, 3]`, red first; in whole numbers only, so the same everywhere.
    """
    height, width = height_width(size)
    row, column = np.mgrid[0:height, 0:width]
    short = min(height, width)
    steps = 512 // max(short, 1) + 1
    waves = [
        np.abs((a * row + b * column) * steps % 510 - 255) for a, b in ((1, 2), (3, 1), (2, 5))
    ]
    picture = np.stack(waves, axis=2).astype(np.uint8)
    quarter = short // 4
    picture[quarter : 2 * quarter, quarter : 2 * quarter] = (250, 240, 20)
    return picture


def drawn_pictures(size: ImageSize) -> NDArray[np.uint8]:
    """Draw the picture four times, `[4, S, S, 3]`: turned, or mirrored where it is no square."""
    picture = check_picture(size)
    if isinstance(size, int):
        return np.stack([np.rot90(picture, turns) for turns in range(4)])
    return np.stack([picture, picture[::-1], picture[:, ::-1], picture[::-1, ::-1]])


def self_check(session: Session, manifest: Manifest) -> None:
    """Compare a loaded model's answers about the check picture with those in its manifest.

    A manifest without them passes: there is nothing to compare with.

    Raises:
        GraphError: A task answers otherwise; the message names the one that is furthest off.
    """
    if manifest.self_check is None:
        return
    tolerance = SELF_CHECK_TOLERANCES[manifest.precision]
    found = check_answers(session, manifest)
    errors = {}
    for output, logits in manifest.self_check.logits.items():
        expected = np.asarray(logits)
        scale = max(1.0, float(np.abs(expected).max()))
        error = float(np.abs(found[output] - expected).max()) / scale
        errors[output] = error if np.isfinite(error) else np.inf
    worst = max(errors, key=lambda output: errors[output])
    if errors[worst] > tolerance:
        msg = (
            f"The model does not answer as its graph did: on the check picture a logit of "
            f"{worst!r} is off by {errors[worst]:.2g} of the largest one, expected at most "
            f"{tolerance:g} in {manifest.precision}. Copy the file again or build it anew; if it "
            "persists, the driver or the backend computes wrongly."
        )
        raise GraphError(msg)


def with_self_check(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """Put a graph's manifest into its metadata, with its own answers in it.

    Args:
        model: A graph; it is changed and returned. ONNX Runtime computes its answers on the CPU.
        manifest: What it is; where the graph answers with NaN or infinity it gets no answers.

    Raises:
        GraphError: It cannot be run.
    """
    from snow_runtime.backends.onnxruntime_session import OnnxSession
    from snow_runtime.graph.onnx_file import with_manifest

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(model.SerializeToString())
        session = OnnxSession(path, ["CPUExecutionProvider"], manifest=manifest)
        try:
            answers = check_answers(session, manifest)
        finally:
            session.close()
    found = None
    if all(np.isfinite(logits).all() for logits in answers.values()):
        rounded = {
            task.output: tuple(float(f"{value:.{_DIGITS}g}") for value in answers[task.output])
            for task in manifest.tasks
        }
        found = SelfCheck(rounded)
    return with_manifest(model, replace(manifest, self_check=found))


def check_answers(session: Session, manifest: Manifest) -> dict[str, NDArray[Any]]:
    """Give what a model says of the check picture by output: logits `[C]`, and features `[F]`."""
    pixels = check_picture(manifest.preprocessing.image_size)
    frame: Batch
    if manifest.input.dtype == "uint8":
        frame = as_frame(pixels, manifest.input)
    else:
        frame = normalise(pixels, manifest.preprocessing)
    batch: Any = np.repeat(frame[np.newaxis], session.batch_size or 1, axis=0)
    return {name: logits[0] for name, logits in session.run(batch).items()}
