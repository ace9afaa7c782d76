"""The options of `snow-deploy train` that decide what a task's network learns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from snow_deploy.cli.options import is_given

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from snow_deploy.models.network import Scheme
    from snow_deploy.models.options import Subscribing
    from snow_deploy.models.pooling import PoolingNorm
    from snow_deploy.training.options import TrainingPrecision, TrainOptions


@dataclass(frozen=True)
class TrainForm:
    """What `train` was asked for; a sweep has one for each of its tasks.

    Attributes:
        scheme: The network's scheme; this and the others are as in the command's help.
        lr: At this batch size; None for the recipe's.
        smallest_crop: None for the recipe's.
    """

    scheme: Scheme
    after: str | None
    subscription: Subscribing
    k: int
    width: int
    sigma2: float
    pooling_norm: PoolingNorm
    epochs: int
    batch_size: int
    lr: float | None
    recipe: str
    smallest_crop: float | None
    image_size: int
    precision: TrainingPrecision
    seed: int

    def options(self) -> TrainOptions:
        """Return how a task is trained.

        Raises:
            TrainingError: A number is out of range.
        """
        from snow_deploy.models.options import DeltaOptions
        from snow_deploy.training.options import TrainOptions, recipe_for

        recipe = recipe_for(self.recipe, self.scheme, follows=self.after is not None)
        if self.smallest_crop is not None:
            recipe = replace(recipe, smallest_crop=self.smallest_crop)
        options = TrainOptions(
            delta=DeltaOptions(
                self.k,
                self.width,
                self.sigma2,
                self.pooling_norm,
                subscription=self.subscription,
            ),
            recipe=recipe,
            epochs=self.epochs,
            batch_size=self.batch_size,
            image_size=self.image_size,
            precision=self.precision,
            seed=self.seed,
            scheme=self.scheme,
            after=self.after,
        )
        if self.lr is None:
            return options
        at_reference = options.recipe.lr * self.lr / options.learning_rate()
        return replace(options, recipe=replace(options.recipe, lr=at_reference))

    def read(self) -> dict[str, bool]:
        """Tell of each option that some networks do not have whether this one depends on it."""
        delta = self.scheme == "snow"
        pools = delta and self.subscription == "pooling"
        return {
            "after": self.scheme == "lf",
            "subscription": delta,
            "k": delta and self.subscription in {"pooling", "conv1x1"},
            "width": delta or self.scheme == "fe",
            "sigma2": pools,
            "pooling_norm": pools,
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
            what += f" --subscription {first.subscription}" if first.scheme == "snow" else ""
            msg = f"{what} does not read --{name.replace('_', '-')}; leave it out"
            raise click.UsageError(msg)
