"""From a running loop to a collection: what the model computed, picture by picture."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from snow_runtime.app.answers import answer_about
from snow_runtime.app.questions.asking import Look, by_frame
from snow_runtime.collection.collector import Shown
from snow_runtime.collection.selection import Sighting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.cameras import Frame
    from snow_runtime.collection.collector import Collector
    from snow_runtime.graph.manifest import Manifest
    from snow_runtime.pictures.prepared import Prepared
    from snow_runtime.results import Result, TaskResult
    from snow_runtime.swap import SwappableModel

    Beside = Callable[[str, str, NDArray[np.float32], Mapping[str, TaskResult]], None]


@dataclass(frozen=True, eq=False)
class Computed:
    """What a model gave for a batch.

    Attributes:
        results: Answers, by picture.
        features: Features, float32 `[B, F]`; None where the graph gives none out.
        manifest: What the graph is.
    """

    results: list[Result]
    features: NDArray[np.float32] | None
    manifest: Manifest


@dataclass(frozen=True)
class _Asked:
    changed: Collection[tuple[str, str]]
    shown: Collection[str] | None

    def has(self, name: str) -> bool:
        return self.shown is None or name in self.shown


def compute(model: SwappableModel, prepared: Prepared) -> Computed:
    """Answer about a batch, and give the features that the same pass made.

    Raises:
        GraphError: The model is closed, or the computation failed.
        InputError: A picture cannot be prepared anew.
    """
    with model.held() as present:
        results, outputs = present.answer_with_outputs(prepared)
        entry = present.manifest.features
        features = None if entry is None else outputs.get(entry.output)
        return Computed(results, features, present.manifest)


class Collecting:
    """Offers a collector what the loop sees; the loop's thread alone uses it.

    Args:
        collector: What chooses and keeps.
        count: Callback that gets the name of what is to be counted.

    Attributes:
        beside: Function that gets each view's camera, name, features and answers; None for none.
    """

    def __init__(self, collector: Collector, count: Callable[[str], None]) -> None:
        self._collector = collector
        self._count = count
        self._known: tuple[Manifest, str] | None = None
        self.beside: Beside | None = None

    def look(
        self,
        frames: Sequence[Frame | Look],
        computed: Computed,
        changed: Collection[tuple[str, str]],
        shown: Callable[[str], Collection[str] | None],
    ) -> None:
        """Keep those of a batch that are worth a label.

        Args:
            frames: Frames, or what was looked at of them.
            computed: What the model gave for them.
            changed: Cameras and questions whose state has just changed.
            shown: Function that gives, by camera, the tasks that are asked for; None for all.
        """
        if computed.features is None:  # by a model that was swapped in
            for _ in frames:
                self._count("collect_dropped")
            return
        rows = zip(frames, computed.results, computed.features, strict=True)
        for each, result, features in rows:
            frame = each.frame if isinstance(each, Look) else each
            asked = _Asked(changed, shown(frame.camera))
            self._offer(each, result, features, computed.manifest, asked)

    def close(self) -> None:
        """Keep what waits to be kept."""
        self._collector.close()

    def _offer(
        self,
        each: Frame | Look,
        result: Result,
        features: NDArray[np.float32],
        manifest: Manifest,
        asked: _Asked,
    ) -> None:
        view = ""
        if isinstance(each, Look):
            result, view = by_frame([each], [result])[0].result, each.view.name
        frame = each.frame if isinstance(each, Look) else each
        named = {name: task for name, task in result.items() if asked.has(name)}
        seen = Sighting(
            frame.camera,
            view,
            frame.captured_at.unix_s,
            named,
            features,
            any((frame.camera, name) in asked.changed for name in named),
        )
        if self.beside is not None:
            self.beside(frame.camera, view, features, named)
        choice = self._collector.choose(seen)
        if choice is None:
            return
        answers = answer_about(frame, result, asked.shown, 0.0).tasks
        shown = Shown(
            frame.image,
            each.view.cut if isinstance(each, Look) else _whole,
            replace(seen, features=features.copy()),  # not the whole batch's
            {name: answer.to_dict() for name, answer in answers.items()},
            manifest.source.sha256,
            self._sha256_of(manifest),
        )
        self._collector.keep(shown, choice)

    def _sha256_of(self, manifest: Manifest) -> str:
        """Return the SHA-256 of what a graph says of itself, its check answers included."""
        if self._known is None or self._known[0] is not manifest:
            self._known = manifest, hashlib.sha256(manifest.to_json().encode()).hexdigest()
        return self._known[1]


def _whole(image: NDArray[Any]) -> NDArray[Any]:
    return image
