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

from snow_runtime.closing import Closing
from snow_runtime.errors import GraphError
from snow_runtime.model import Model, load

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Iterator

    from snow_runtime.graph.manifest import Manifest
    from snow_runtime.pictures.prepared import Prepared
    from snow_runtime.pictures.preprocessing import Colour, Picture
    from snow_runtime.results import Result


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
        self._one_swap = threading.Lock()
        self._held: _Held | None = _Held(model)
        self.swaps = 0

    @property
    def manifest(self) -> Manifest:
        """What the present graph is."""
        return self._present().model.manifest

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the present model's tasks."""
        return self._present().model.tasks

    def __call__(self, image: Picture, colour: Colour = "rgb") -> Result:
        """Answer every task about one picture; see :meth:`Model.__call__`."""
        with self._calling() as model:
            return model(image, colour)

    def batch(self, images: Iterable[Picture], colour: Colour = "rgb") -> list[Result]:
        """Answer about several pictures, all by the same model; see :meth:`Model.batch`."""
        with self._calling() as model:
            return model.batch(images, colour)

    def prepare(self, images: Iterable[Picture], colour: Colour = "rgb") -> Prepared:
        """Prepare for the present model; see :meth:`Model.prepare`."""
        return self._present().model.prepare(images, colour)

    def answer(self, prepared: Prepared) -> list[Result]:
        """Compute by the present model, which prepares anew what a swap made unfit."""
        with self._calling() as model:
            return model.answer(prepared)

    def swap(
        self, path: str | os.PathLike[str], needed: Collection[str] = (), **options: Any
    ) -> Manifest:
        """Put the model of another file in this one's place.

        Calls that are under way finish on the old model; every later one goes to the new.

        Args:
            path: A graph or an engine; with more tasks, fewer or others.
            needed: Tasks that the new model has to have.
            options: Options, as for :func:`snow_runtime.load`.

        Returns:
            What the new graph is.

        Raises:
            GraphError, EngineError: The new model cannot be loaded, lacks a task that is needed,
                or does not answer as its manifest says it must; or this was closed meanwhile. The
                old one goes on.
            MissingDependencyError: Likewise.
        """
        with self._one_swap:
            self._present()
            model = load(path, **options)
            try:
                _check_tasks(path, model, needed)
                model.warmup()
                model.self_check()
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
    def _calling(self) -> Iterator[Model]:
        """Keep the present model open during a call."""
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


def _check_tasks(path: str | os.PathLike[str], model: Model, needed: Collection[str]) -> None:
    missing = [name for name in needed if name not in model.tasks]
    if missing:
        msg = (
            f"{path} has no task {', '.join(missing)}, expected all of {', '.join(needed)}. Export "
            "it with them, or ask for others."
        )
        raise GraphError(msg)
