"""What is tried for every scheme alike: one list of values for each setting, and who has it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from snow_deploy.training.options import RECIPES, recipe_for

if TYPE_CHECKING:
    from snow_deploy.models.network import Scheme
    from snow_deploy.training.options import Recipe

Setting = Literal["rate", "classifier", "start", "crop", "schedule", "second-loss"]
SETTINGS: Final[tuple[Setting, ...]] = (
    *("rate", "classifier", "start", "crop"),
    *("schedule", "second-loss"),
)
"""In the order in which they are chosen, each with what was chosen before it."""

_BEGIN_LINEAR: Final = frozenset({"fo", "ft", "mp", "snow"})
"""Schemes whose classifier reads what a regression on the source's features knows."""


@dataclass(frozen=True)
class SearchGrid:
    """The values of each setting; the same ones are tried for every scheme that has the setting.

    Attributes:
        rates: Rates of the body, at a batch of 256.
        classifier_rates: Rates of the classifier, at a batch of 256, for as many features as the
            source gives; where it reads n others, in proportion to 1 / n.
        starts: Starts of the classifier.
        crops: Smallest share of a picture's area in training.
        schedules: `cosine` with an epoch of warm-up, or `step`: a tenth at each third of the run.
        second_losses: Weight of the loss on what a delta answers from its local features alone.
    """

    rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    classifier_rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1)
    starts: tuple[Literal["linear", "random"], ...] = ("linear", "random")
    crops: tuple[float, ...] = (0.5, 0.25)
    schedules: tuple[Literal["cosine", "step"], ...] = ("cosine", "step")
    second_losses: tuple[float, ...] = (1.0, 0.0)

    def values(self, setting: Setting) -> tuple[float | str, ...]:
        """Return what is tried of a setting, in order; of equally good ones the first is taken."""
        found: dict[Setting, tuple[float | str, ...]] = {
            "rate": self.rates,
            "classifier": self.classifier_rates,
            "start": self.starts,
            "crop": self.crops,
            "schedule": self.schedules,
            "second-loss": self.second_losses,
        }
        return found[setting]


Settings = dict[Setting, "float | str"]
"""One value of each setting that a scheme has."""


def has(scheme: Scheme, setting: Setting) -> bool:
    """Tell whether a scheme has a setting: FO has no body, a second loss is of deltas alone."""
    if setting == "rate":
        return scheme != "fo"
    if setting == "start":
        return scheme in _BEGIN_LINEAR
    return setting != "second-loss" or scheme == "snow"


def first_settings(scheme: Scheme, grid: SearchGrid) -> Settings:
    """Return what the search begins with: the middle rate of each list, the others' first value."""
    found: Settings = {}
    for setting in SETTINGS:
        if has(scheme, setting):
            values = grid.values(setting)
            middle = setting in {"rate", "classifier"}
            found[setting] = values[(len(values) - 1) // 2 if middle else 0]
    return found


def recipe_from(settings: Settings, scheme: Scheme, features: int) -> Recipe:
    """Return the recipe with these settings.

    What no setting says is the scheme's own part of `steady`, such as how SNOW's noise ends.

    Args:
        settings: As `first_settings` gives them.
        scheme: Scheme of the network.
        features: F, of the source's pooled output.
    """
    base = RECIPES["steady"] if scheme == "snow" else recipe_for("steady", scheme)
    classifier = float(settings["classifier"])
    rate = float(settings.get("rate", classifier))
    schedule = str(settings["schedule"])
    return replace(
        base,
        lr=rate,
        classifier_features=classifier * features / rate if scheme != "fo" else 0,
        classifier_faster=True,
        classifier_start=settings.get("start", "random"),  # type: ignore[arg-type]
        smallest_crop=float(settings["crop"]),
        schedule=schedule,  # type: ignore[arg-type]
        warmup_epochs=1.0 if schedule == "cosine" else 0.0,
        decay_epochs=0,
        local_loss=float(settings.get("second-loss", 0.0)),
    )


def at_an_end(settings: Settings, grid: SearchGrid) -> tuple[str, ...]:
    """Name the rates that are the smallest or the largest that was tried: wider may be better."""
    found = []
    for setting in ("rate", "classifier"):
        values = grid.values(setting)
        value = settings.get(setting)
        if len(values) > 1 and value is not None and value in {min(values), max(values)}:
            found.append(f"{setting}={value}")
    return tuple(found)
