"""The options of `snow-deploy train` that decide what a task's network learns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from snow_deploy.cli.options import is_given

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Literal

    from snow_deploy.models.network import Scheme
    from snow_deploy.models.options import ClassifierReads, Subscribing
    from snow_deploy.models.pooling import PoolingNorm, PoolingOrder, PoolingWeights
    from snow_deploy.training.choose_scheme import WhichDelta
    from snow_deploy.training.options import Recipe, TrainingPrecision, TrainOptions
    from snow_runtime.readout.fit import ClassWeights


_SHAPE = ("blocks", "from_stage", "classifier_reads")


@dataclass(frozen=True)
class TrainForm:
    """What `train` was asked for; a sweep has one for each of its tasks.

    Attributes:
        scheme: The network's scheme, or `auto`; this and the others are as in the command's help.
        blocks: None for all.
        from_stage: None for the image.
        batch_size: None for 256 or, with the paper's recipe, the scheme's in the paper.
        lr: At this batch size; None for the recipe's.
        decay_epochs: None for the recipe's.
        smallest_crop: None for the recipe's.
        right_share: None gives every answer.
    """

    scheme: Scheme | Literal["auto"]
    delta: WhichDelta
    after: str | None
    subscription: Subscribing
    k: int
    width: int
    sigma2: float
    pooling_norm: PoolingNorm
    pooling_weights: PoolingWeights
    pooling_order: PoolingOrder
    blocks: int | None
    from_stage: int | None
    classifier_reads: ClassifierReads
    views: int | None
    features: int | None
    class_weights: ClassWeights
    epochs: int
    batch_size: int | None
    lr: float | None
    recipe: str
    decay_epochs: int | None
    smallest_crop: float | None
    image_size: int
    precision: TrainingPrecision
    hold_out: float
    right_share: float | None
    seed: int

    def options(self) -> TrainOptions:
        """Return how a task is trained; of `auto`, how its delta would be.

        Raises:
            TrainingError: A number is out of range.
            click.UsageError: A cosine was to fall in steps.
        """
        from snow_deploy.models.options import DeltaOptions
        from snow_deploy.training.options import TrainOptions, usual_batch
        from snow_deploy.training.readout_options import ReadoutOptions

        if self.scheme == "auto":
            return replace(self, scheme="snow").options()
        options = TrainOptions(
            delta=DeltaOptions(
                self.k,
                self.width,
                self.sigma2,
                self.pooling_norm,
                subscription=self.subscription,
                pooling_weights=self.pooling_weights,
                pooling_order=self.pooling_order,
                blocks=self.blocks,
                from_stage=self.from_stage,
                classifier_reads=self.classifier_reads,
            ),
            recipe=self._recipe(),
            epochs=1 if self.scheme == "readout" else self.epochs,
            batch_size=(
                usual_batch(self.recipe, self.scheme)
                if self.batch_size is None
                else self.batch_size
            ),
            image_size=self.image_size,
            precision=self.precision,
            seed=self.seed,
            scheme=self.scheme,
            after=self.after,
            readout=ReadoutOptions(self.views, self.features, self.class_weights),
            hold_out=0.0 if self.scheme == "readout" else self.hold_out,
            right_share=self.right_share,
        )
        if self.lr is None:
            return options
        at_reference = options.recipe.lr * self.lr / options.learning_rate()
        return replace(options, recipe=replace(options.recipe, lr=at_reference))

    def readout_options(self) -> TrainOptions:
        """Return how `auto` fits its readout.

        Raises:
            TrainingError: A number is out of range.
        """
        return replace(self, scheme="readout", lr=None, decay_epochs=None).options()

    def _recipe(self) -> Recipe:
        from snow_deploy.training.options import recipe_for

        name = "steady" if self.scheme == "readout" else self.recipe
        scheme = "snow" if self.scheme == "auto" else self.scheme
        recipe = recipe_for(name, scheme, follows=self.after is not None)
        if self.smallest_crop is not None:
            recipe = replace(recipe, smallest_crop=self.smallest_crop)
        if self.decay_epochs is None:
            return recipe
        if recipe.schedule != "step":
            msg = (
                f"--recipe {self.recipe} falls along a cosine and does not read --decay-epochs; "
                "leave it out"
            )
            raise click.UsageError(msg)
        return replace(recipe, decay_epochs=self.decay_epochs)

    def read(self) -> dict[str, bool]:
        """Tell of each option that some networks do not have whether this one depends on it."""
        delta = self.scheme in {"snow", "auto"}
        pools = delta and self.subscription == "pooling"
        fits = self.scheme in {"readout", "auto"} or (delta and self.classifier_reads == "taps")
        trained = ("epochs", "batch_size", "lr", "recipe", "decay_epochs", "precision", "baseline")
        return {
            "hold_out": self.scheme != "readout",
            **dict.fromkeys(trained, self.scheme != "readout"),
            **dict.fromkeys(("views", "features", "class_weights"), fits),
            "delta": self.scheme == "auto",
            "after": self.scheme == "lf",
            **dict.fromkeys((*_SHAPE, "subscription"), delta),
            "k": delta and self.subscription in {"pooling", "conv1x1"},
            "width": delta or self.scheme == "fe",
            "sigma2": pools,
            "pooling_norm": pools,
            "pooling_weights": pools,
            "pooling_order": pools,
        }


def refuse_unread(variants: Sequence[TrainForm], swept: Collection[str]) -> None:
    """Refuse options that were given, but that what is trained does not read.

    A swept one must be read by every variant, one that is given for all by at least one of them.

    Raises:
        click.UsageError: Such an option is there.
    """
    for name in variants[0].read():
        deaf = [each for each in variants if not each.read()[name]]
        if deaf and (name in swept or (is_given(name) and len(deaf) == len(variants))):
            first = deaf[0]
            what = f"--scheme {first.scheme}"
            what += f" --subscription {first.subscription}" if first.read()["subscription"] else ""
            msg = f"{what} does not read --{name.replace('_', '-')}; leave it out"
            raise click.UsageError(msg)
