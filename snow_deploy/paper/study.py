"""A study: which data, schemes and seeds are compared, and how each run is trained."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from snow_deploy.data import open_data
from snow_deploy.data.hold_out import hold_out
from snow_deploy.errors import DataError, TrainingError
from snow_deploy.models.options import DeltaOptions
from snow_deploy.paper.printed import SIGMA2, dataset, row_of
from snow_deploy.training.options import (
    PAPER_BATCHES,
    RECIPES,
    REFERENCE_BATCH,
    Recipe,
    TrainingPrecision,
    TrainOptions,
    recipe_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.network import Scheme
    from snow_deploy.paper.tuned import Tuned
    from snow_deploy.training.store import Store

SCHEMES: tuple[Scheme, ...] = ("fo", "fe", "ft", "mp", "pn", "lf", "snow")
"""In the order of the tables; SNOW last, as what the others are compared with."""
COMPARED: tuple[Scheme, ...] = ("fo", "fe", "ft", "mp", "pn", "snow")
"""Those of the paper's comparison; LF stands in Tables 1 and 9 alone."""

_DIGITS = 10
_SPLIT_SEED = 0  # of data without a split of its own: every run is measured on the same pictures
_DATA_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Run:
    """One task to be trained.

    Attributes:
        name: Name of the task in the store: data, scheme, and a digest of all that decides the
            weights.
        data: The name of its data.
        options: How it is trained.
    """

    name: str
    data: str
    options: TrainOptions


@dataclass(frozen=True)
class SchemeAtBatch:
    """What is compared: a scheme at a batch.

    Attributes:
        name: The scheme's, with the batch where the paper has the scheme at two: `snow-256`.
        scheme: Scheme of the network.
        batch_size: Pictures a step.
    """

    name: str
    scheme: Scheme
    batch_size: int

    def row(self) -> str:
        """Return the row of the paper's Tables 7 and 8 that its accuracies stand beside."""
        return row_of(self.scheme, self.batch_size)


@dataclass(frozen=True)
class Study:
    """What the tables have in common.

    Attributes:
        output: Folder of the tables and of what was measured for them.
        store: Store of the trained runs; it holds the source where something is trained.
        data: Data by name: what `train --data` takes.
        schemes: What is compared.
        seeds: Each run is trained once for each.
        recipe: `paper` or `steady`.
        epochs: Epochs of each run.
        batch_size: Pictures a step; None for 256 or, with the paper's recipe, what the paper has
            for each scheme: two contenders then are SNOW's.
        image_size: Side of the networks' input, in pixels.
        precision: Arithmetic of training.
        delta: SNOW's shape where a table doesn't vary it; with the paper's recipe a data set of
            the paper's has the noise that is printed for it. The other schemes have nothing of its
            form, so that their runs are the same ones beside every form.
        decay_epochs: Epochs between steps, of recipes whose rate falls in steps; None for the
            recipe's.
        tuned: Recipes that were chosen for each scheme and data, in place of `recipe`.
        held_out: Seed of a validation part of the training pictures, which is measured on in the
            place of the test split; None to measure on that.
        workers: Processes that load pictures.
        download: Whether torchvision may download data.
        say: Callback that gets, a line at a time, what is done.
    """

    output: Path
    store: Store
    data: Mapping[str, str]
    schemes: tuple[Scheme, ...] = SCHEMES
    seeds: tuple[int, ...] = (0,)
    recipe: str = "paper"
    epochs: int = 90
    batch_size: int | None = None
    image_size: int = 224
    precision: TrainingPrecision = "auto"
    delta: DeltaOptions = field(default_factory=DeltaOptions)
    decay_epochs: int | None = None
    tuned: Tuned | None = None
    held_out: int | None = None
    workers: int = 2
    download: bool = False
    say: Callable[[str], None] = print
    _opened: dict[str, Splits] = field(default_factory=dict, init=False, repr=False, compare=False)

    def splits(self, data: str) -> Splits:
        """Open a data set, once; what is opened stays as it was then.

        Raises:
            DataError: It can't be used, or its pictures may have any number of labels.
        """
        if data not in self._opened:
            spec, download = self.data[data], self.download
            splits = open_data(spec, seed=_SPLIT_SEED, download=download)
            _check_one_answer(data, splits)
            for remark in splits.remarks:
                self.say(f"note: {data}: {remark}")
            held = self.held_out
            self._opened[data] = splits if held is None else hold_out(splits, seed=held)
        return self._opened[data]

    def contenders(self) -> list[SchemeAtBatch]:
        """Return what is compared, in the order of the schemes."""
        found = []
        for scheme in self.schemes:
            sizes = self._batches(scheme)
            for size in sizes:
                name = scheme if len(sizes) == 1 else f"{scheme}-{size}"
                found.append(SchemeAtBatch(name, scheme, size))
        return found

    def _batches(self, scheme: Scheme) -> tuple[int, ...]:
        if self.batch_size is not None:
            return (self.batch_size,)
        return PAPER_BATCHES[scheme] if self.recipe == "paper" else (REFERENCE_BATCH,)

    def recipe_of(self, scheme: Scheme, data: str | None, *, follows: bool = False) -> Recipe:
        """Return the recipe of a scheme, on a data set where one was chosen for it.

        Args:
            scheme: Scheme of the network.
            data: What it learns; None where only costs are measured.
            follows: It goes on from another task's network.
        """
        data = data or next(reversed(list(self.data)), None)  # the classes of costs are its, too
        if self.tuned is not None and data is not None:
            return self.tuned.recipe(data, scheme, follows=follows)
        recipe = recipe_for(self.recipe, scheme, follows=follows)
        if self.decay_epochs is not None and recipe.schedule == "step":
            recipe = replace(recipe, decay_epochs=self.decay_epochs)
        return recipe

    def delta_of(self, data: str | None) -> DeltaOptions:
        """Return SNOW's shape on a data set, where no table varies it."""
        return replace(self.delta, sigma2=self.sigma2_of(data))

    def sigma2_of(self, data: str | None) -> float:
        """Return the variance of the pooling's noise on a data set.

        With the paper's recipe a data set of the paper's has its own, as section 3.1 says.
        """
        its = None if data is None else dataset(self.data[data])
        usual = self.delta.sigma2 == DeltaOptions().sigma2
        if its is None or self.recipe != "paper" or self.tuned is not None or not usual:
            return self.delta.sigma2
        return SIGMA2[its]

    def options(
        self,
        scheme: Scheme,
        seed: int,
        *,
        data: str | None = None,
        recipe: Recipe | None = None,
        batch_size: int | None = None,
        delta: DeltaOptions | None = None,
        after: str | None = None,
    ) -> TrainOptions:
        """Return how a run is trained.

        Args:
            scheme: Scheme of its network.
            seed: Seed of its weights, order, crops and noise.
            data: What it learns, where a recipe may have been chosen for it; None where only costs
                are measured: of the recipe they depend on a second loss alone.
            recipe: How it learns; None for the study's.
            batch_size: Pictures a step; None for the scheme's first.
            delta: Its shape, where the table varies it.
            after: The run that it goes on from, for `lf`.
        """
        shape = delta or self.delta
        delta = delta or self.delta_of(data)
        recipe = recipe or self.recipe_of(scheme, data, follows=after is not None)
        reads_taps = scheme == "snow" and delta.classifier_reads == "taps"
        if data is None and reads_taps and recipe.classifier_start != "linear":
            recipe = RECIPES["steady"]  # the paper's has no fit that taps begin as
        return TrainOptions(
            delta=delta if scheme == "snow" else shape.as_in_the_paper(),
            recipe=recipe,
            epochs=self.epochs,
            batch_size=batch_size or self._batches(scheme)[0],
            image_size=self.image_size,
            precision=self.precision,
            seed=seed,
            scheme=scheme,
            after=after,
        )

    def run(self, data: str, options: TrainOptions) -> Run:
        """Name a run: the same data, source and options give the same name, others another."""
        source = self.store.source_weights().fingerprint()
        facts: dict[str, Any] = {
            "options": options.to_dict(),
            "data": self.data[data],
            "source": source,
        }
        if self.held_out is not None:
            facts["held_out"] = self.held_out
        return Run(f"{data}-{options.scheme}-{digest(facts)}", data, options)

    def chain(self, seed: int, order: Sequence[str] = ()) -> list[Run]:
        """Return the runs of `lf`: each data set after the one before, into one network.

        Args:
            seed: Seed of the runs.
            order: Order of the data sets; empty for the one in which they are given.
        """
        runs: list[Run] = []
        for data in order or self.data:
            after = runs[-1].name if runs else None
            runs.append(self.run(data, self.options("lf", seed, data=data, after=after)))
        return runs

    def facts(self) -> dict[str, Any]:
        """Return, as plain JSON values, what a table's figures depend on."""
        return {
            "data": dict(self.data),
            "schemes": list(self.schemes),
            "seeds": list(self.seeds),
            "recipe": self.recipe,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "image_size": self.image_size,
            "precision": self.precision,
            "decay_epochs": self.decay_epochs,
            "tuned": None if self.tuned is None else self.tuned.facts(),
            "delta": asdict(self.delta),
            **self._source(),
        }

    def _source(self) -> dict[str, str]:
        """Name the source, where there is one."""
        if not self.store.has_source():
            return {}
        weights = self.store.source_weights()
        return {"source": weights.architecture, "source_fingerprint": weights.fingerprint()}


def _check_one_answer(data: str, splits: Splits) -> None:
    """Refuse pictures with any number of labels: the paper's tables are of one class a picture."""
    if splits.answers == "several":
        msg = (
            f"the pictures of the data {data!r} may have any number of labels, expected one class "
            "each, as the paper's accuracies are of. Give data such as csv:FILE?label=COLUMN; "
            "`snow-deploy train` trains on the other."
        )
        raise DataError(msg)


def digest(facts: Mapping[str, Any]) -> str:
    """Return a short hash of JSON values; it doesn't depend on the order of the keys."""
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def parse_data(pairs: tuple[str, ...]) -> dict[str, str]:
    """Read `NAME=KIND:PATH` several times.

    Raises:
        TrainingError: A name is missing, unfit for a task's, or given twice.
    """
    data: dict[str, str] = {}
    for pair in pairs:
        name, equals, spec = pair.partition("=")
        if not equals or not _DATA_NAME.fullmatch(name):
            msg = (
                f"--data {pair!r} has no name that fits, expected NAME=KIND:PATH with a name of "
                "a-z, 0-9, _ and - (up to 40, a letter first), such as food=food101:data"
            )
            raise TrainingError(msg)
        if name in data:
            msg = f"--data gives the name {name!r} twice; give each data set a name of its own"
            raise TrainingError(msg)
        data[name] = spec
    return data
