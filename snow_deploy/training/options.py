"""How a task is trained: one frozen record, kept with the run and with the trained task."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from snow_deploy.errors import TrainingError
from snow_deploy.models.network import Scheme
from snow_deploy.models.options import DeltaOptions
from snow_deploy.training.readout_options import ReadoutOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_runtime.graph.image_size import ImageSize

Schedule = Literal["step", "cosine"]
ClassifierStart = Literal["random", "linear"]
Noise = Literal["constant", "settling"]
TrainingPrecision = Literal["auto", "fp32", "bf16", "fp16"]

REFERENCE_BATCH = 256
_EXPLORING = 0.25  # share of a run, with settling noise
_FOLLOWED_STEPS = 30  # a BatchNorm's statistics follow the weights closely for so long


@dataclass(frozen=True)
class Recipe:
    """The optimiser's course.

    Attributes:
        lr: Learning rate at a batch of 256; scaled in proportion to the batch.
        decay_epochs: With `step`, the rate is divided by ten after each so many epochs, however
            long the run is; 0 divides at each third of the run, as it was before this was told.
        classifier_features: Where positive, the classifier's learning rate falls with the features
            it reads, for their number makes its steps long: n of them get this / n of the others'
            rate, the local ones for themselves and the source's for themselves.
        schedule: `step` divides by ten now and then (`decay_epochs`); `cosine` falls to zero.
        warmup_epochs: Epochs of linear warm-up.
        classifier_start: `random`; or `linear`: the classifier begins as a cautious logistic
            regression on the source's pooled features (`linear_probe.Probe`), blind to the local
            ones.
        pooling_lr_scale: Learning rate, over the others', of the pooling weights.
        noise: `constant`; or `settling`: the deviation of the pooling's noise falls to zero in the
            first quarter of the run, so that the rest trains on the channels that stay.
        local_loss: Weight of a second loss, on what a delta's classifier answers from its local
            features alone. Without it the local ones of a short run learn little, for the source's
            tell most pictures apart.
        smallest_crop: Smallest share of a photo's area, in training: crops are of this share or
            more.
        label_smoothing: Share of the target spread over all classes, 0 to 1.
        classifier_faster: Let `classifier_features` speed the classifier up too, where it reads
            fewer.
        momentum: Momentum of SGD.
        weight_decay: L2, on every trained parameter.
    """

    lr: float = 1.0
    classifier_features: float = 0
    schedule: Schedule = "step"
    warmup_epochs: float = 0.0
    classifier_start: ClassifierStart = "random"
    pooling_lr_scale: float = 1.0
    noise: Noise = "constant"
    local_loss: float = 0.0
    smallest_crop: float = 0.25
    label_smoothing: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    decay_epochs: int = 30
    classifier_faster: bool = False

    def rate(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Return the factor on the learning rate at an optimiser step, 0 to 1."""
        total = steps_per_epoch * epochs
        warmup = self.warmup_epochs * steps_per_epoch
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if self.schedule == "cosine":
            share = (step - warmup) / max(1.0, total - warmup)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        if self.decay_epochs:
            return float(0.1 ** (step // (self.decay_epochs * steps_per_epoch)))
        return float(0.1 ** min(2, 3 * step // max(1, total)))

    def exploration(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Return the factor on the deviation of the pooling's noise at a step, 0 to 1."""
        if self.noise == "constant":
            return 1.0
        return max(0.0, 1 - step / (_EXPLORING * steps_per_epoch * epochs))


RECIPES = {
    "paper": Recipe(),
    "steady": Recipe(
        lr=1.0,
        classifier_features=25,
        schedule="cosine",
        warmup_epochs=1,
        classifier_start="linear",
        pooling_lr_scale=10.0,
        noise="settling",
        local_loss=1.0,
        smallest_crop=0.5,
    ),
}
"""`paper`: SNOW's own (section 3.1). `steady`: gentler on the classifier.

See docs/guide/training.md. These are SNOW's; `recipe_for` has those of the other schemes.
"""

PAPER_BATCHES: dict[Scheme, tuple[int, ...]] = {
    "fo": (256,),
    "fe": (256,),
    "ft": (128,),
    "mp": (96,),
    "pn": (96,),
    "lf": (128,),
    "snow": (256, 128),
}
"""Pictures a step of the paper's runs: Figure 4; of LF, appendix A.3."""

_OTHERS_RATE = 0.1  # at a batch of 256, of every scheme but SNOW and LF
_LF_RATE = 0.01  # likewise, of LF: 0.005 at 128 (appendix A.3)
_GENTLE_RATE = 0.01  # likewise, of `steady` where every weight has been trained before
_WHOLE = frozenset({"ft", "lf"})
_READS_AS_THE_SOURCE = frozenset({"fo", "ft", "mp", "lf"})
"""Schemes whose classifier reads at first what the source's does, or something near it."""
_DELTA_KEYS = {"k": "k_divisor", "width": "width_divisor"}
"""As files of options name fields of the delta's."""


def recipe_for(name: str, scheme: Scheme = "snow", *, follows: bool = False) -> Recipe:
    """Return a recipe by its name, as a scheme needs it.

    In the paper's all but SNOW learn at a tenth of its rate (section 3.1, Figure 4), LF at a
    hundredth (appendix A.3). With `steady` FT does so too: few epochs do not mend what a higher
    rate shakes to pieces. Their classifiers keep the rate that `classifier_features` gives SNOW's.

    Args:
        name: A key of `RECIPES`.
        scheme: Scheme of the task's network.
        follows: Its network goes on from another task's, not from the source.

    Raises:
        TrainingError: There is no such recipe.
    """
    if name not in RECIPES:
        msg = f"there is no recipe {name!r}, expected one of {', '.join(RECIPES)}."
        raise TrainingError(msg)
    recipe = RECIPES[name]
    if scheme == "snow":
        return recipe
    rate = _LF_RATE if scheme == "lf" else _OTHERS_RATE
    if name == "steady" and scheme in _WHOLE:
        rate = _GENTLE_RATE
    begins_linear = scheme in _READS_AS_THE_SOURCE and not follows
    return replace(
        recipe,
        lr=rate,
        classifier_features=round(recipe.classifier_features * recipe.lr / rate),
        classifier_start=recipe.classifier_start if begins_linear else "random",
        pooling_lr_scale=1.0,
        noise="constant",
        local_loss=0.0,
    )


def usual_batch(recipe: str, scheme: Scheme) -> int:
    """Return the batch of a scheme where none is asked for: with `paper` the printed one."""
    printed = PAPER_BATCHES.get(scheme, (REFERENCE_BATCH,))  # a readout takes no steps
    return printed[0] if recipe == "paper" else REFERENCE_BATCH


@dataclass(frozen=True)
class TrainOptions:
    """Everything that decides which weights a run ends with, but for the data and the source.

    Attributes:
        delta: The delta's shape.
        recipe: The optimiser's course.
        epochs: Passes over the training pictures.
        batch_size: Pictures a step, on each device.
        image_size: Side of the square that the networks see in pixels, or height and width.
        precision: `auto` is bf16 where a CUDA device has it, else fp32.
        seed: Seed of weights, order, augmentation and noise.
        scheme: What kind of network the task has; files from before there were several are
            SNOW's.
        after: The task whose network this one goes on from, for `lf` alone.
        readout: How a readout is fitted, or what a classifier begins as that reads taps; others do
            not read it, as readouts do not read `delta`, `epochs`, `batch_size`, `precision` and
            most of `recipe`.
        crop_share: Share of the resized picture that the networks see, up to 1; None for the
            source's own.
        hold_out: Share of the training pictures, in [0, 1), that a network trained by steps does
            not see, for its temperature and bounds, where the data has no validation split beside
            a test split. Readouts are cross-validated in its place.
        right_share: Share of right answers, in (0, 1), that those given are to have; None gives
            every answer.
    """

    delta: DeltaOptions = field(default_factory=DeltaOptions)
    recipe: Recipe = field(default_factory=Recipe)
    epochs: int = 90
    batch_size: int = 256
    image_size: ImageSize = 224
    precision: TrainingPrecision = "auto"
    seed: int = 0
    scheme: Scheme = "snow"
    after: str | None = None
    readout: ReadoutOptions = field(default_factory=ReadoutOptions)
    crop_share: float | None = None
    hold_out: float = 0.0
    right_share: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            TrainingError: A number is out of range; the message names it.
        """
        schemes = get_args(Scheme)
        sides = self._settle_image_size()
        checks = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch-size": (self.batch_size >= 2, "2 or more"),
            "image-size": (
                len(sides) == 2 and all(isinstance(side, int) and side >= 32 for side in sides),
                "32 pixels or more, or a height and a width of as many",
            ),
            "crop-share": (self.crop_share is None or 0 < self.crop_share <= 1, "above 0, up to 1"),
            **self.delta.ranges(),
            "recipe": (
                not self.reads_taps or self.recipe.classifier_start == "linear",
                "steady with --classifier-reads taps, which begins as a fit",
            ),
            "lr": (0 < self.recipe.lr < math.inf, "a number above 0"),
            "decay-epochs": (self.recipe.decay_epochs >= 0, "0 or more"),
            "smallest-crop": (0 < self.recipe.smallest_crop <= 1, "a share above 0, up to 1"),
            "hold-out": (0 <= self.hold_out < 1, "a share from 0 on, below 1"),
            "right-share": (
                self.right_share is None or 0 < self.right_share < 1,
                "a share above 0 and below 1",
            ),
            "seed": (0 <= self.seed < 2**32, "0 to 4294967295"),
            "scheme": (self.scheme in schemes, ", ".join(schemes)),
            **self.readout.ranges(),
            "after": (self.after is None or self.scheme == "lf", "--scheme lf with it"),
        }
        for name, (holds, expected) in checks.items():
            if not holds:
                msg = f"--{name} is out of range; expected {expected}"
                raise TrainingError(msg)

    def _settle_image_size(self) -> Sequence[int]:
        """Give the size its normal form, as other files may have it, and return both sides."""
        size: Any = self.image_size
        sides = list(size) if isinstance(size, (list, tuple)) else [size, size]
        settled = sides[0] if len(set(sides)) == 1 else tuple(sides)
        object.__setattr__(self, "image_size", settled)
        return sides

    @property
    def reads_taps(self) -> bool:
        """Whether it is a delta whose classifier reads the source's taps, as a readout does."""
        return self.scheme == "snow" and self.delta.classifier_reads == "taps"

    def learning_rate(self, world_size: int = 1) -> float:
        """Return the learning rate for this batch size on so many devices."""
        return self.recipe.lr * self.batch_size * world_size / REFERENCE_BATCH

    def norm_momentum(self, step: int) -> float:
        """Return the factor on the momentum of a BatchNorm's statistics at a step, 0 to 1.

        They come to average over as many pictures as at a batch of 256: over few batches of few
        pictures they are no good estimate, and a trained network can lose points from one epoch
        to the next. At first, and in a short run throughout, they follow the weights at the
        usual pace.
        """
        settled = self.batch_size / REFERENCE_BATCH
        return min(1.0, max(settled, _FOLLOWED_STEPS / (step + 1)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        keys = {name: key for key, name in _DELTA_KEYS.items()}
        values = asdict(self)
        delta = self.delta.to_dict()
        values["delta"] = {keys.get(name, name): value for name, value in delta.items()}
        if self.scheme != "readout" and not self.reads_taps:
            del values["readout"]
        for name, usual in (("crop_share", None), ("hold_out", 0.0), ("right_share", None)):
            if values[name] == usual:  # readers from before there were any refuse them
                del values[name]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainOptions:
        """Read what `to_dict` wrote; unknown keys raise TypeError.

        Files without `decay_epochs` are from when the rate fell at thirds of the run. Where that is
        what today's value does too, they read like today's, so that such runs can be gone on with.
        """
        rest = {key: values[key] for key in values if key not in {"delta", "recipe", "readout"}}
        if "readout" in values:
            rest["readout"] = ReadoutOptions(**values["readout"])
        delta = {_DELTA_KEYS.get(key, key): value for key, value in values["delta"].items()}
        found = cls(DeltaOptions(**delta), Recipe(**values["recipe"]), **rest)
        recipe = found.recipe
        alike = recipe.schedule == "cosine" or found.epochs == 3 * recipe.decay_epochs
        if alike or "decay_epochs" in values["recipe"]:
            return found
        return replace(found, recipe=replace(recipe, decay_epochs=0))

    def differences(self, other: TrainOptions) -> list[str]:
        """Return `name: this != that` for every value that differs, named as in files."""
        mine, theirs = _flat(self), _flat(other)
        names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
        return [f"{name}: {mine.get(name)} != {theirs.get(name)}" for name in names]


def _flat(options: TrainOptions) -> dict[str, Any]:
    values = options.to_dict()
    return {
        **values.pop("delta"),
        **values.pop("recipe"),
        **values.pop("readout", {}),
        **values,
    }
