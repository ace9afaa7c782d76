"""A file of recipes, chosen for each scheme and data set on held-out training pictures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from snow_deploy.data.hold_out import hold_out
from snow_deploy.errors import TrainingError
from snow_deploy.models.options import DeltaOptions
from snow_deploy.training.options import Recipe
from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.network import Scheme

_FORMAT: Final = 1


@dataclass(frozen=True)
class Choice:
    """What was chosen for one scheme on one data set.

    Attributes:
        recipe: The winner.
        accuracy: Its own on the held-out training pictures, 0 to 1.
        trials: How many recipes were trained for it.
        edges: Rates that won at an end of what was tried, as `rate=1.0`.
        pictures: Fingerprint of the training pictures and of the part that was held out.
        held_out: Seed of that part; None in a file from before it was noted.
    """

    recipe: Recipe
    accuracy: float
    trials: int
    edges: tuple[str, ...]
    pictures: str
    held_out: int | None = None


@dataclass(frozen=True)
class Tuned:
    """Choices by data set and scheme, and what they hold for.

    Attributes:
        epochs: Epochs of every run.
        batch_size: Pictures a step; None for the paper's of each scheme.
        image_size: Side of the input, in pixels.
        source: The source's fingerprint.
        choices: Choices by data set and scheme.
        delta: Shape of SNOW's delta; the paper's where nothing was chosen for SNOW.
    """

    epochs: int
    batch_size: int | None
    image_size: int
    source: str
    choices: Mapping[tuple[str, str], Choice]
    delta: DeltaOptions = field(default_factory=DeltaOptions)

    def has_snow(self) -> bool:
        """Tell whether a recipe of SNOW's is there, which is for one form of its delta."""
        return any(scheme == "snow" for _, scheme in self.choices)

    def is_like(self, other: Tuned) -> bool:
        """Tell whether both hold for the same, so that their choices may stand together.

        The other schemes have nothing of a delta's form: theirs stand beside any.
        """
        mine, others = (replace(each, choices={}, delta=DeltaOptions()) for each in (self, other))
        forms = {each.delta for each in (self, other) if each.has_snow()}
        return mine == others and len(forms) <= 1

    def beside(self, other: Tuned) -> Tuned:
        """Return both together; of two choices for one scheme and data the other's counts."""
        delta = other.delta if other.has_snow() else self.delta
        return replace(self, choices={**self.choices, **other.choices}, delta=delta)

    def recipe(self, data: str, scheme: Scheme, *, follows: bool = False) -> Recipe:
        """Return the recipe of a scheme on a data set; LF learns as FT, which its first task is.

        Args:
            data: Its name.
            scheme: Scheme of the network.
            follows: It goes on from another task's network, whose classifier knows nothing of this.

        Raises:
            TrainingError: None was chosen.
        """
        like = "ft" if scheme == "lf" else scheme
        choice = self.choices.get((data, like))
        if choice is None:
            known = ", ".join(f"{name} on {of}" for of, name in self.choices) or "none"
            msg = (
                f"--tuned has no recipe of {like} on {data} (it has: {known}). Choose one with "
                f"`snow-deploy paper tune`, or leave {scheme} or {data} out."
            )
            raise TrainingError(msg)
        return replace(choice.recipe, classifier_start="random") if follows else choice.recipe

    def check_source(self, fingerprint: str) -> None:
        """Check that recipes are used on the source that they were chosen on.

        Raises:
            TrainingError: It is another one.
        """
        if fingerprint != self.source:
            msg = (
                f"the recipes were chosen on the source {self.source[:12]}, and this one is "
                f"{fingerprint[:12]}. Choose them anew with `snow-deploy paper tune`."
            )
            raise TrainingError(msg)

    def check_pictures(self, data: str, splits: Splits) -> None:
        """Check that recipes are used on the training pictures that they were chosen on.

        Of other ones some may have been test pictures then, or training pictures that are test
        pictures now.

        Args:
            data: Its name; only what was chosen for it is looked at.
            splits: The data as it is now, with nothing held out.

        Raises:
            TrainingError: They are other ones.
        """
        for (name, scheme), choice in self.choices.items():
            if name != data or choice.held_out is None:
                continue
            if hold_out(splits, seed=choice.held_out).fingerprint != choice.pictures:
                msg = (
                    f"the recipe of {scheme} was chosen on other training pictures than {data} has "
                    "now. Choose it anew with `snow-deploy paper tune`, or give the data another "
                    "name."
                )
                raise TrainingError(msg)

    def facts(self) -> dict[str, Any]:
        """Return plain JSON values."""
        nested: dict[str, dict[str, Any]] = {}
        for (data, scheme), choice in self.choices.items():
            nested.setdefault(data, {})[scheme] = asdict(choice)
        return {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "image_size": self.image_size,
            "source": self.source,
            "choices": nested,
            **({} if self.delta == DeltaOptions() else {"delta": self.delta.to_dict()}),
        }

    def write(self, path: Path) -> None:
        """Write them, replacing the file."""
        with atomic_write(path, "w") as file:
            json.dump({"format": _FORMAT, **self.facts()}, file, indent=1)


def read_tuned(path: Path) -> Tuned:
    """Read what `Tuned.write` wrote.

    Raises:
        TrainingError: It is no such file.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document.pop("format")
        nested = document.pop("choices")
        choices = {
            (data, scheme): _choice(values)
            for data, by_scheme in nested.items()
            for scheme, values in by_scheme.items()
        }
        delta = DeltaOptions(**document.pop("delta", {}))
        found = Tuned(**document, choices=choices, delta=delta)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = (
            f"{path} cannot be read as chosen recipes ({error}). Give the tuned.json that "
            "`snow-deploy paper tune` wrote."
        )
        raise TrainingError(msg) from error
    if version != _FORMAT:
        msg = f"{path} has format {version}; this version reads {_FORMAT}. Update snow-deploy."
        raise TrainingError(msg)
    return found


def merge_tuned(several: Mapping[Path, Tuned]) -> Tuned:
    """Put together what was chosen apart, such as one scheme by each of several machines.

    Args:
        several: Choices by their file; at least one.

    Raises:
        TrainingError: They hold for other epochs, sizes, sources or forms, or two have another
            recipe for one scheme and data set.
    """
    (first, found), *others = several.items()
    for path, each in others:
        if not found.is_like(each):
            msg = (
                f"the recipes of {path} were chosen for other epochs, sizes, source or form than "
                f"those of {first}. Choose all of them alike with `snow-deploy paper tune`."
            )
            raise TrainingError(msg)
        for key in found.choices.keys() & each.choices.keys():
            if found.choices[key] != each.choices[key]:
                msg = (
                    f"{path} has another recipe of {key[1]} on {key[0]} than a file before it. "
                    "Leave one of them out."
                )
                raise TrainingError(msg)
        found = found.beside(each)
    return found


def _choice(values: Mapping[str, Any]) -> Choice:
    recipe, edges = Recipe(**values["recipe"]), tuple(values["edges"])
    return Choice(**{**values, "recipe": recipe, "edges": edges})
