"""From labelled pictures to their features, through a model that may be at work meanwhile.

Axes: M pictures that could be used; F features of the graph.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sized
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.errors import FitError, InputError
from snow_runtime.learn.targets import read_targets
from snow_runtime.pictures.plain_file import load_plain_file
from snow_runtime.pictures.prepared import run_in_parts
from snow_runtime.readout.evaluate import check_features, features_of
from snow_runtime.swap import SwappableModel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from numpy.typing import NDArray

    from snow_runtime.graph.manifest import Manifest
    from snow_runtime.learn.targets import GivenLabels, Targets
    from snow_runtime.model import Model
    from snow_runtime.pictures.preprocessing import Colour, Picture
    from snow_runtime.progress import ProgressCallback

    GivenPicture: TypeAlias = Picture | str | os.PathLike[str]

_BATCH: Final = 8  # pictures that are prepared and computed at once
_PHASE: Final = "looking at pictures"


@dataclass(frozen=True)
class LookedAt:
    """What a model saw of labelled pictures.

    Attributes:
        manifest: What its graph is.
        features: float16 `[M, F]`, of the pictures that could be used.
        targets: What they are labelled with.
        check: float32 `[F]`, features of the check picture.
        remarks: What a user should know of the pictures, a sentence each.
    """

    manifest: Manifest
    features: NDArray[np.float16] = field(repr=False)
    targets: Targets
    check: NDArray[np.float32] = field(repr=False)
    remarks: tuple[str, ...]


def look_at(
    model: Model | SwappableModel,
    pictures: Iterable[GivenPicture],
    labels: GivenLabels,
    colour: Colour = "rgb",
    progress: ProgressCallback | None = None,
) -> LookedAt:
    """Run labelled pictures through a model, a few at a time.

    A file that cannot be read is left out, and so is a picture that is there twice under the same
    labels. One that is there under different ones stays; the remarks tell.

    Args:
        model: The model; what takes its place meanwhile takes no part.
        pictures: Files, or pictures as :class:`Model` takes them; each is looked at once and not
            kept.
        labels: What each of them shows: a label, or any number of them.
        colour: Order of arrays' channels.
        progress: Callback that hears how far it is.

    Raises:
        FitError: The numbers of pictures and labels differ, a label is no text or has too few
            pictures, or none could be read.
        ReadoutError: The graph gives out no features.
        InputError: A picture that is no file has another type, shape or dtype.
        GraphError: The model is closed, or the computation failed.
    """
    if isinstance(pictures, Sized):
        _check_count(len(pictures), labels)
    targets = read_targets(labels)
    with model.held() if isinstance(model, SwappableModel) else nullcontext(model) as held:
        looking = _Looking(held, targets)
        count = 0
        for count, image in enumerate(pictures, 1):
            _check_count(count, labels, at_least=True)
            looking.take(image, count - 1, colour)
            if progress is not None:
                progress(_PHASE, count / len(labels))
        _check_count(count, labels)
        return looking.result()


def _check_count(pictures: int, labels: GivenLabels, *, at_least: bool = False) -> None:
    if pictures > len(labels) or (pictures < len(labels) and not at_least):
        number = f"{pictures} pictures or more" if at_least else f"{pictures} pictures"
        msg = (
            f"There are {number} and {len(labels)} labels, expected one label for each picture. "
            "Give as many."
        )
        raise FitError(msg)


@dataclass
class _Looking:
    """Pictures under way through a model."""

    model: Model
    targets: Targets
    waiting: list[Any] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    rows: list[NDArray[np.float16]] = field(default_factory=list)
    seen: dict[bytes, dict[bytes, str]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.output = features_of(self.model.manifest).output

    def take(self, image: GivenPicture, number: int, colour: Colour) -> None:
        """Prepare a picture, and compute once there are enough of them."""
        name, target = f"picture {number}", self.targets.values[number].tobytes()
        if isinstance(image, (str, os.PathLike)):
            name = os.fspath(image)
            try:
                image = load_plain_file(Path(name))
            except InputError as error:
                self.unreadable.append(str(error))
                return
        try:
            batch = self.model.prepare([image], colour).batch
        except InputError as error:
            msg = f"{name}: {error}"
            raise InputError(msg) from error
        places = self.seen.setdefault(hashlib.sha256(batch.tobytes()).digest(), {})
        if target in places:
            self.copies.append((name, places[target]))
            return
        places[target] = name
        self.waiting.append(batch)
        self.names.append(name)
        self.kept.append(number)
        if len(self.waiting) == _BATCH:
            self._compute()

    def result(self) -> LookedAt:
        """Compute what waits, and say what was found."""
        if self.waiting:
            self._compute()
        if not self.rows:
            msg = (
                f"None of the {len(self.unreadable)} pictures could be read. The first: "
                f"{self.unreadable[0]}"
            )
            raise FitError(msg)
        return LookedAt(
            self.model.manifest,
            np.concatenate(self.rows),
            self.targets.of(self.kept),
            check_features(self.model.session, self.model.manifest),
            self._remarks(),
        )

    def _compute(self) -> None:
        outputs = run_in_parts(self.model.session, np.concatenate(self.waiting))
        with np.errstate(over="ignore"):
            found = outputs[self.output].astype(np.float16)
        sound = np.isfinite(found).all(axis=1)
        if not sound.all():
            name = self.names[len(self.names) - len(found) + int(sound.argmin())]
            msg = (
                f"The graph's features of {name} are NaN, infinite or beyond half precision, "
                "expected finite numbers below 65504. Export the graph again in fp32; see whether "
                "the source's weights are sound."
            )
            raise FitError(msg)
        self.rows.append(found)
        self.waiting = []

    def _remarks(self) -> tuple[str, ...]:
        found = []
        if self.unreadable:
            count = len(self.unreadable)
            what = "1 picture" if count == 1 else f"{count} pictures"
            found.append(f"{what} could not be read, and left out: {self.unreadable[0]}")
        if self.copies:
            count = len(self.copies)
            what = "1 picture is a copy" if count == 1 else f"{count} pictures are copies"
            found.append(
                f"{what} of others of the same labels and count once, such as "
                f"{' and '.join(self.copies[0])}"
            )
        several = [tuple(places.values()) for places in self.seen.values() if len(places) > 1]
        if several:
            what = "1 picture is" if len(several) == 1 else f"{len(several)} pictures are"
            found.append(
                f"{what} there under different labels, such as {' and '.join(several[0][:2])}: one "
                "of them is wrong. Leave it out"
            )
        return tuple(found)
