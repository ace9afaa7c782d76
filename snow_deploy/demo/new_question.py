"""A question that the running model learns from twenty labels, through what a box does."""

from __future__ import annotations

import io
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snow_deploy.data import open_data
from snow_deploy.errors import TrainingError
from snow_runtime.collection.collection import Collection
from snow_runtime.collection.records import CollectionQuestion, NewPicture
from snow_runtime.model import load
from snow_runtime.refit.options import RefitOptions
from snow_runtime.refit.service import RefitService
from snow_runtime.swap import SwappableModel

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from snow_deploy.data.pictures import Pictures
    from snow_runtime.refit.versions import Version

QUESTION: Final = "pattern"
"""What is asked anew; the deltas learned other questions about the same pictures."""
LABELS: Final = 20
"""So many pictures are labelled."""
_LOOK_S: Final = 0.05
_MOST_S: Final = 900.0
_BATCH: Final = 32


@dataclass(frozen=True)
class NewQuestion:
    """What twenty labels brought.

    Attributes:
        name: Name of the question.
        labels: Its classes.
        before: Tasks that the model answered before.
        after: Those that it answers now.
        labelled: How many pictures were labelled.
        seconds: Time from the last label to the first answer, in seconds.
        readout_bytes: Size of what was added to the model.
        cross_validated: Share of right answers that the box expects, and its standard error.
        accuracy: Share of right answers on held-out pictures.
        guessed: Share that is right if always the most frequent class is said.
        tests: How many held-out pictures there were.
    """

    name: str
    labels: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    labelled: int
    seconds: float
    readout_bytes: int
    cross_validated: tuple[float, float]
    accuracy: float
    guessed: float
    tests: int


def learn_question(graph: Path, data: str, folder: Path) -> NewQuestion:
    """Add a question to a model that answers already.

    Pictures come into a collection as a box's do, twenty are labelled with the truth, and the
    service that follows labels fits a readout and puts it onto the model.

    Args:
        graph: A graph with features.
        data: Data whose training pictures are labelled, and whose test pictures tell how good it
            is.
        folder: Folder of the collection; an earlier one there is replaced.

    Raises:
        TrainingError: It could not be learned.
    """
    splits = open_data(data)
    shutil.rmtree(folder, ignore_errors=True)
    with (
        SwappableModel(load(graph)) as model,
        Collection.open(folder, create=True) as collection,
    ):
        before = model.tasks
        collection.add_question(CollectionQuestion(QUESTION, splits.labels))
        shown = _collect(collection, model, splits.train)
        for number, label in shown:
            collection.label([number], QUESTION, label, by="demo")
        started = time.perf_counter()
        version = _refit(collection, model)
        seconds = time.perf_counter() - started
        tests = splits.final[1]
        right = _count_right(model, tests)
        readout = collection.folder / "versions" / QUESTION / f"{version.number:04}.readout"
        return NewQuestion(
            QUESTION,
            splits.labels,
            before,
            model.tasks,
            len(shown),
            seconds,
            readout.stat().st_size,
            version.cross_validated,
            right / len(tests),
            max(Counter(map(tests.target, range(len(tests)))).values()) / len(tests),
            len(tests),
        )


def _collect(
    collection: Collection, model: SwappableModel, pictures: Pictures
) -> list[tuple[int, str]]:
    """Keep the pictures to label, as many of each class as can be; return their numbers."""
    source = model.manifest.source.sha256
    most = -(-LABELS // len(pictures.labels))
    taken: Counter[str] = Counter()
    found: list[tuple[int, str]] = []
    for index in range(len(pictures)):
        label = pictures.labels[pictures.target(index)]
        if len(found) == LABELS or taken[label] == most:
            continue
        image = pictures.load(index)
        kept = collection.add(
            NewPicture(
                _jpeg(image),
                camera="demo",
                features=model.features([image])[0].astype("float16"),
                source_sha256=source,
            )
        )
        if kept is not None:
            taken[label] += 1
            found.append((kept, label))
    return found


def _refit(collection: Collection, model: SwappableModel) -> Version:
    options = RefitOptions(quiet_s=0.0, tick_s=_LOOK_S, look_s=_LOOK_S)
    service = RefitService(collection, model, options=options)
    ends = time.monotonic() + _MOST_S
    service.start()
    try:
        service.request(QUESTION)
        while True:
            status = service.status(QUESTION)
            if status["live"] is not None:
                return service.versions(QUESTION)[-1]
            if status["phase"] in {"failed", "lacking"}:
                msg = f"{QUESTION} could not be learned: {status['text']}"
                raise TrainingError(msg)
            if time.monotonic() > ends:
                msg = f"{QUESTION} was not learned within {_MOST_S:.0f} s: {status['phase']}"
                raise TrainingError(msg)
            time.sleep(_LOOK_S)
    finally:
        service.stop()


def _count_right(model: SwappableModel, pictures: Pictures) -> int:
    right = 0
    for begin in range(0, len(pictures), _BATCH):
        indices = range(begin, min(begin + _BATCH, len(pictures)))
        results = model.batch([pictures.load(index) for index in indices])
        right += sum(
            result[QUESTION].label == pictures.labels[pictures.target(index)]
            for index, result in zip(indices, results, strict=True)
        )
    return right


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
