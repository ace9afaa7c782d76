"""Exchanging a model while others call it.

The new model is loaded, warmed and checked aside; then it takes the old one's place between two
calls. The old one is closed when its last call has returned. Whatever goes wrong with the new one,
the old one stays, and no call fails because of a swap.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snow_runtime.backends.remote.address import shown_place
from snow_runtime.closing import Closing
from snow_runtime.errors import GraphError, ReadoutError
from snow_runtime.model import Model, load

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.graph.manifest import Manifest
    from snow_runtime.pictures.prepared import Prepared
    from snow_runtime.pictures.preprocessing import Colour, Picture
    from snow_runtime.readout.file import ReadoutFile
    from snow_runtime.results import Result

    GivenReadout = ReadoutFile | str | os.PathLike[str]


_LOGGER = logging.getLogger(__name__)


@dataclass
class _Held:
    """A model, how many calls it has under way, and whether it is to be closed after them."""

    model: Model
    calls: int = 0
    retired: bool = False


class SwappableModel(Closing):
    """A model whose place another one can take while frames flow.

    It is called as a :class:`snow_runtime.model.Model` is. Several threads may call and swap.

    Args:
        model: The first one; it is closed with this, or when another one takes its place.

    Attributes:
        swaps: How many times another model has taken the place.
    """

    def __init__(self, model: Model) -> None:
        self._lock = threading.Lock()
        self._one_change = threading.Lock()
        self._held: _Held | None = _Held(model)
        self.swaps = 0

    @property
    def manifest(self) -> Manifest:
        """What the present graph is."""
        return self._present().model.manifest

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the present model's tasks, its readouts' included."""
        return self._present().model.tasks

    @property
    def readouts(self) -> tuple[ReadoutFile, ...]:
        """The present model's readouts."""
        return self._present().model.readouts

    def __call__(self, image: Picture, colour: Colour = "rgb") -> Result:
        """Answer every task about one picture; see :meth:`Model.__call__`."""
        with self.held() as model:
            return model(image, colour)

    def batch(self, images: Iterable[Picture], colour: Colour = "rgb") -> list[Result]:
        """Answer about several pictures, all by the same model; see :meth:`Model.batch`."""
        with self.held() as model:
            return model.batch(images, colour)

    def prepare(self, images: Iterable[Picture], colour: Colour = "rgb") -> Prepared:
        """Prepare for the present model; see :meth:`Model.prepare`."""
        return self._present().model.prepare(images, colour)

    def answer(self, prepared: Prepared) -> list[Result]:
        """Compute by the present model, which prepares anew what a swap made unfit."""
        with self.held() as model:
            return model.answer(prepared)

    def features(self, images: Iterable[Picture], colour: Colour = "rgb") -> NDArray[np.float32]:
        """Give features by the present model; see :meth:`Model.features`."""
        with self.held() as model:
            return model.features(images, colour)

    def add_readout(self, readout: GivenReadout, *, replace: bool = False) -> ReadoutFile:
        """Answer one task more; see :meth:`Model.add_readout`. A swap under way is waited for."""
        with self._one_change, self.held() as model:
            return model.add_readout(readout, replace=replace)

    def check_readout(self, readout: ReadoutFile) -> None:
        """Check that a readout could answer; see :meth:`Model.check_readout`."""
        with self.held() as model:
            model.check_readout(readout)

    def remove_readout(self, name: str) -> None:
        """Answer one task less; see :meth:`Model.remove_readout`. A swap is waited for."""
        with self._one_change, self.held() as model:
            model.remove_readout(name)

    def swap(
        self,
        path: str | os.PathLike[str],
        needed: Collection[str] = (),
        *,
        readouts: Iterable[GivenReadout] | None = None,
        where_fit: Iterable[ReadoutFile] = (),
        **options: Any,
    ) -> Manifest:
        """Put the model of another file in this one's place.

        Calls that are under way finish on the old model; every later one goes to the new.

        Args:
            path: A graph, an engine or a server's model; with more tasks, fewer or others.
            needed: Tasks that the new model has to have.
            readouts: Readouts, or their files, that the new model has; None keeps those that the
                old one has.
            where_fit: Readouts that the new model has too, as far as they fit it; the log tells
                which ones do not.
            options: Options, as for :func:`snow_runtime.load`.

        Returns:
            What the new graph is.

        Raises:
            GraphError, EngineError: The new model cannot be loaded, lacks a task that is needed,
                or does not answer as its manifest says it must; or this was closed meanwhile. The
                old one goes on.
            ReadoutError: A readout cannot be read or does not fit the new graph. Likewise.
            MissingDependencyError: Likewise.
        """
        place = shown_place(path)
        with self._one_change:
            loose = tuple(where_fit)
            kept = self._present().model.readouts if readouts is None else tuple(readouts)
            kept = tuple(each for each in kept if each not in loose)
            model = load(path, **options)
            try:
                model.warmup()
                model.self_check()
                _add_all(place, model, kept)
                _add_fitting(model, loose)
                _check_tasks(place, model, needed)
                retired = self._put(model)
            except BaseException:
                model.close()
                raise
            if retired is not None:
                _close_retired(retired)
        return model.manifest

    def close(self) -> None:
        """Close the model after the calls under way; calling it afterwards raises GraphError.

        A swap that is under way is not waited for; what it loads is closed.
        """
        with self._lock:
            held, self._held = self._held, None
            idle = held is not None and self._retire(held)
        if held is not None and idle:
            held.model.close()

    def _put(self, model: Model) -> Model | None:
        """Let a model take the place; return the old one where nobody uses it."""
        with self._lock:
            old = self._present()
            self._held = _Held(model)
            self.swaps += 1
            idle = self._retire(old)
        return old.model if idle else None

    @contextmanager
    def held(self) -> Iterator[Model]:
        """Within it, the present model stays as it is and open, whatever takes its place.

        Raises:
            GraphError: This is closed.
        """
        with self._lock:
            held = self._present()
            held.calls += 1
        try:
            yield held.model
        finally:
            with self._lock:
                held.calls -= 1
                last = held.retired and held.calls == 0
            if last:
                _close_retired(held.model)

    @staticmethod
    def _retire(held: _Held) -> bool:
        """Mark a model as to be closed; return whether that is at once."""
        held.retired = True
        return held.calls == 0

    def _present(self) -> _Held:
        held = self._held
        if held is None:
            msg = "The model is closed, expected an open one. Load it again."
            raise GraphError(msg)
        return held


def _close_retired(model: Model) -> None:
    """Close a model that nobody uses any more; that it fails to is no fault of who called."""
    try:
        model.close()
    except Exception:
        _LOGGER.exception("The model that was swapped out could not be closed.")


def _add_all(path: str, model: Model, readouts: Iterable[GivenReadout]) -> None:
    try:
        for readout in readouts:
            model.add_readout(readout)
    except ReadoutError as error:
        msg = f"{path} cannot have all readouts: {error}"
        raise ReadoutError(msg) from error


def _add_fitting(model: Model, readouts: Iterable[ReadoutFile]) -> None:
    for readout in readouts:
        _add_if_it_fits(model, readout)


def _add_if_it_fits(model: Model, readout: ReadoutFile) -> None:
    try:
        model.add_readout(readout)
    except ReadoutError as error:
        _LOGGER.warning("A readout is left out: %s", error)


def _check_tasks(path: str, model: Model, needed: Collection[str]) -> None:
    missing = [name for name in needed if name not in model.tasks]
    if missing:
        msg = (
            f"{path} has no task {', '.join(missing)}, expected all of {', '.join(needed)}. Export "
            "it with them, or ask for others."
        )
        raise GraphError(msg)
