"""A model's answers about pictures, a row each, whatever becomes of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snow_runtime.errors import GraphError, InputError
from snow_runtime.readout.evaluate import features_of
from snow_runtime.score.job_picture import FailureKind, JobPicture, JobPictureError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from numpy.typing import NDArray
    from PIL import Image

    from snow_runtime.model import Model
    from snow_runtime.results import Result


@dataclass(frozen=True)
class ScoredRow:
    """What came of a picture.

    Attributes:
        id: What it is called.
        result: The answers; None where there are none.
        features: float16 `[F]`, where they were asked for.
        kind: Where it failed; None where it did not.
        error: Why.
    """

    id: str
    result: Result | None = None
    features: NDArray[np.float16] | None = None
    kind: FailureKind | None = None
    error: str | None = None


class Scorer:
    """Turns pictures into rows by a model.

    Args:
        model: The model, with its readouts.
        features: Whether rows have features.
        batch: Pictures that are computed together; 1 computes each as `predict` does.

    Raises:
        ReadoutError: Features are asked for, and the graph gives none out.
    """

    def __init__(self, model: Model, *, features: bool, batch: int) -> None:
        self._model = model
        self._batch = batch
        self._features = features_of(model.manifest).output if features else None

    def rows(
        self, pictures: Iterable[JobPicture], skipped: Collection[int], begin: Callable[[int], None]
    ) -> Iterator[ScoredRow]:
        """Yield a row for each picture, in order.

        Args:
            pictures: The pictures.
            skipped: Numbers of those that are not looked at, since they ended a process before.
            begin: Callback that gets the number of each before it is looked at.
        """
        waiting: list[tuple[JobPicture, Image.Image]] = []
        number = 0
        begin(number)  # before it is fetched: that may end the process too
        for number, picture in enumerate(pictures):
            failed = None
            if number in skipped:
                failed = ScoredRow(
                    picture.id, None, None, "ended its process", _ENDED.format(picture.id)
                )
            else:
                try:
                    waiting.append((picture, picture.load()))
                except JobPictureError as error:
                    failed = ScoredRow(picture.id, None, None, error.kind, str(error))
            if failed is not None or len(waiting) == self._batch:
                yield from self._computed(waiting)
                waiting = []
            if failed is not None:
                yield failed
            begin(number + 1)
        if waiting:
            begin(number)
        yield from self._computed(waiting)

    def _computed(self, pictures: list[tuple[JobPicture, Image.Image]]) -> Iterator[ScoredRow]:
        """Compute pictures together; one by one where that fails, to find which is to blame."""
        if not pictures:
            return
        try:
            prepared = self._model.prepare([image for _, image in pictures])
            results, outputs = self._model.answer_with_outputs(prepared)
        except (GraphError, InputError) as error:
            if len(pictures) == 1:
                yield ScoredRow(pictures[0][0].id, None, None, "not computed", str(error))
                return
            for each in pictures:
                yield from self._computed([each])
            return
        for index, (picture, _) in enumerate(pictures):
            if self._features is None:
                yield ScoredRow(picture.id, results[index])
                continue
            with np.errstate(over="ignore"):
                row = outputs[self._features][index].astype(np.float16)
            if np.isfinite(row).all():
                yield ScoredRow(picture.id, results[index], row)
            else:
                yield ScoredRow(
                    picture.id, None, None, "not computed", _NOT_FINITE.format(picture.id)
                )


_ENDED = (
    "{} ended the process that looked at it, twice: it is too large for the memory there is, or "
    "breaks a decoder. Look at it by itself, or leave it out."
)
_NOT_FINITE = (
    "The graph's features of {} are NaN, infinite or beyond half precision, expected finite "
    "numbers below 65504. Export the graph again in fp32."
)
