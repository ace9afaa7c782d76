"""A shard from its pictures to its part: what every process and every actor does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_runtime.errors import GraphError
from snow_runtime.model import is_engine, load
from snow_runtime.readout.evaluate import check_features
from snow_runtime.score.errors import ScoreError, ShardError
from snow_runtime.score.job import model_sha256
from snow_runtime.score.output_folder import OutputFolder, part_name
from snow_runtime.score.parts import PartSummary, PartWriter
from snow_runtime.score.scorer import Scorer
from snow_runtime.score.shard_list import read_shard
from snow_runtime.score.shard_pictures import read_shard_pictures

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.model import Model
    from snow_runtime.score.options import JobFiles, ScoreOptions


@dataclass(frozen=True)
class Setup:
    """What a worker needs to begin.

    Attributes:
        files: The model and the output.
        options: What decides the rows.
        model_sha256: What the model's file must be.
        key: Key of the job.
    """

    files: JobFiles
    options: ScoreOptions
    model_sha256: str
    key: str


@dataclass(frozen=True)
class Order:
    """A shard to be done.

    Attributes:
        number: Its number, which names its part.
        begin: Where its line begins in the list of shards.
        end: Where that ends.
        skipped: Numbers of pictures that are not looked at.
    """

    number: int
    begin: int
    end: int
    skipped: tuple[int, ...] = ()


class ShardWorker:
    """A model, and the way of shards through it.

    Raises:
        ScoreError: The model is another one than the job's.
        SnowError: It cannot be loaded, does not compute as it should, or gives no features.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._output = OutputFolder(setup.files.output)
        self._model = _loaded(setup)
        options = setup.options
        self._check = None
        if options.features:
            self._check = check_features(self._model.session, self._model.manifest)
        self._scorer = Scorer(self._model, features=options.features, batch=options.batch)

    def work(
        self,
        order: Order,
        begin: Callable[[int], None] = lambda _: None,
        done: Callable[[int], None] = lambda _: None,
    ) -> PartSummary:
        """Score a shard and write its part.

        Args:
            order: Which shard.
            begin: Callback that gets the number of each picture before it is looked at.
            done: Callback that gets how many rows there are, after each.

        Raises:
            ShardError: The shard cannot be read to its end, or nothing of it could be fetched or
                computed; no part is written.
            OutputError: The output refuses the part.
        """
        shard = read_shard(self._output, order.begin, order.end)
        summary = PartSummary(self._setup.key)
        with (
            self._output.writing(part_name(order.number)) as stream,
            PartWriter(stream, self._model, self._check, summary) as writer,
        ):
            pictures = read_shard_pictures(shard, self._setup.options, order.skipped)
            for row in self._scorer.rows(pictures, order.skipped, begin):
                writer.write(row)
                done(summary.rows)
            _check_sense(summary)
        return summary

    def close(self) -> None:
        """Let go of the model."""
        self._model.close()


def _loaded(setup: Setup) -> Model:
    files = setup.files
    try:
        found = model_sha256(files.model)
    except (OSError, GraphError) as error:
        msg = (
            f"The model {files.model} cannot be read where it is to compute: {error}. Put it on a "
            "disk that all machines see, under the same path."
        )
        raise ScoreError(msg) from error
    if found != setup.model_sha256:
        msg = (
            f"The model {files.model} has changed since the job began, or is another one on this "
            f"machine: {found[:12]}, expected {setup.model_sha256[:12]}. Put the same one there."
        )
        raise ScoreError(msg)
    model = load(files.model, threads=None if is_engine(files.model) else files.threads)
    model.warmup()
    model.self_check()
    for readout in files.readouts:
        model.add_readout(readout)
    return model


def _check_sense(summary: PartSummary) -> None:
    """Refuse a part in which nothing came to an answer for reasons that are no picture's own."""
    lost = summary.failed["not fetched"] + summary.failed["not computed"]
    if summary.rows and lost == summary.rows:
        msg = (
            f"None of its {summary.rows} pictures could be fetched or computed. The first: "
            f"{summary.examples[0]}"
        )
        raise ShardError(msg)
