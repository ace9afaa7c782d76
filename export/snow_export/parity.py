"""Parity: the file's answers beside the torch network's."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snow_export.errors import ParityError
from snow_runtime.backends.onnxruntime_session import OnnxSession

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from snow_export.network import SharedNetwork
    from snow_runtime.backends.batch import Batch

PARITY_TOLERANCES = {"fp32": 1e-4, "fp16": 2e-2}
"""Largest allowed error by precision, relative to the largest logit of the task (or to one)."""
PARITY_BATCH = 8
"""Pictures that are run at once, of any number; not as many as the graph was traced with."""
LARGEST_ROUNDING = 2e-2
"""Largest error that rounding may excuse, likewise: beyond it float32 says too little."""


@dataclass(frozen=True)
class TaskParity:
    """How close one output is to its reference.

    Attributes:
        task: The task's name.
        max_error: Largest absolute difference of two logits.
        scale: Largest absolute logit of the reference, at least one.
        cosine: Cosine of the two logit vectors, the worst of all pictures, -1 to 1.
        same_top1: Share of pictures with the same best label, 0 to 1.
        rounding: Where the reference is float64: how far torch's own float32 answers are from it,
            in units of the largest logit.
    """

    task: str
    max_error: float
    scale: float
    cosine: float
    same_top1: float
    rounding: float = 0.0

    @property
    def relative_error(self) -> float:
        """Largest error in units of the largest logit."""
        return self.max_error / self.scale

    def is_within(self, tolerance: float) -> bool:
        """Whether the error is allowed: by the tolerance, or as torch's own rounding is as large.

        NaN is not.
        """
        excused = min(2 * self.rounding, LARGEST_ROUNDING)  # two roundings may differ by twice one
        return self.relative_error <= max(tolerance, excused)


def compare_logits(
    reference: Mapping[str, NDArray[Any]], answers: Mapping[str, NDArray[np.float32]]
) -> list[TaskParity]:
    """Compare [B, classes] logits task by task."""
    found = []
    for task, expected in reference.items():
        seen = answers[task]
        with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, never close
            found.append(
                TaskParity(
                    task,
                    float(np.abs(expected - seen).max()),
                    max(1.0, float(np.abs(expected).max())),
                    _worst_cosine(expected, seen),
                    float(np.mean(expected.argmax(1) == seen.argmax(1))),
                )
            )
    return found


def compare_exactly(
    exact: Mapping[str, NDArray[np.float64]],
    reference: Mapping[str, NDArray[np.float32]],
    answers: Mapping[str, NDArray[np.float32]],
) -> list[TaskParity]:
    """Compare answers with torch's in float64, and note how far torch's in float32 are from them.

    An ill-conditioned network makes much of the last bit, and float32 answers of two libraries
    differ by more than a tolerance though both are right.
    """
    own = compare_logits(exact, reference)
    return [
        replace(seen, rounding=mine.relative_error)
        for seen, mine in zip(compare_logits(exact, answers), own, strict=True)
    ]


def _worst_cosine(expected: NDArray[Any], seen: NDArray[np.float32]) -> float:
    one, other = expected.astype(np.float64), seen.astype(np.float64)  # float32's squares overflow
    products = (one * other).sum(1)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float((products / np.maximum(lengths, 1e-30)).min())


@torch.no_grad()
def torch_answers(
    network: SharedNetwork, images: Tensor, batch: int | None = None
) -> dict[str, NDArray[np.float32]]:
    """Run the torch network in eval mode: [B, classes] by task.

    Args:
        network: The network.
        images: [B, 3, S, S].
        batch: How many to run at once; None for any number.
    """
    return _in_parts(network.eval(), images.float(), np.float32, batch)


@torch.no_grad()
def exact_answers(network: SharedNetwork, images: Tensor) -> dict[str, NDArray[np.float64]]:
    """Run a copy of the torch network in float64: [B, classes] by task."""
    return _in_parts(copy.deepcopy(network).double().eval(), images.double(), np.float64)


def _in_parts(
    network: SharedNetwork, images: Tensor, kind: Any, batch: int | None = None
) -> dict[str, NDArray[Any]]:
    """Run a network on some pictures at a time: what the deltas read is held for all of them."""
    parts = [network(some) for some in _parts_of(images, batch or PARITY_BATCH)]
    together = zip(network.output_names, zip(*parts, strict=True), strict=True)
    return {name: torch.cat(logits).cpu().numpy().astype(kind) for name, logits in together}


def _parts_of(images: Tensor, size: int) -> Iterator[Tensor]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def onnx_answers(
    path: Path, images: Batch, batch: int | None = None
) -> dict[str, NDArray[np.float32]]:
    """Run a graph file in ONNX Runtime on the CPU: [B, classes] by output.

    Args:
        path: The file.
        images: [B, ...], as its input has them.
        batch: How many to run at once, B being a multiple of it; None for any number.
    """
    session = OnnxSession(path, providers=["CPUExecutionProvider"])
    step = batch or PARITY_BATCH
    try:
        parts = [session.run(images[start : start + step]) for start in range(0, len(images), step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    finally:
        session.close()


def check_parity(found: Sequence[TaskParity], tolerance: float) -> None:
    """Refuse a graph that answers otherwise.

    Raises:
        ParityError: A task's error is above the tolerance, or not a number.
    """
    for parity in found:
        if not math.isfinite(parity.max_error):
            msg = (
                f"task {parity.task!r} answers with infinity or NaN on held-out pictures. The "
                "graph was not written; train the task anew, with a lower --lr."
            )
            raise ParityError(msg)
        if parity.is_within(tolerance):
            continue
        if 2 * parity.rounding > LARGEST_ROUNDING:
            msg = (
                f"task {parity.task!r} answers by rounding errors: torch's own float32 answers are "
                f"{parity.rounding:.1%} of the largest logit from its float64 ones, expected "
                f"{LARGEST_ROUNDING / 2:.0%} at most. The graph was not written; train the task "
                "anew with --recipe steady, and see whether the source's weights are sound."
            )
            raise ParityError(msg)
        exactly = f" (in float64; torch's float32 errs by {parity.rounding:.0e} of it)"
        msg = (
            f"task {parity.task!r} answers otherwise in ONNX Runtime than in torch: largest "
            f"error {parity.max_error:.2e} at logits up to {parity.scale:.2e}"
            f"{exactly if parity.rounding else ''}, allowed is {tolerance:.0e} of that. The graph "
            "was not written; please report this with the architecture and the versions of "
            "torch and onnxruntime."
        )
        raise ParityError(msg)
