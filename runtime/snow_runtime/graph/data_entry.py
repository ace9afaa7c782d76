"""The pictures that a task was trained and measured on, as a manifest has them: hashes alone.

A manifest goes to devices, so that neither paths nor labels of single pictures are in it. What is
here says whether pictures are split as they were, for whoever has the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from snow_runtime.graph import field_checks

SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True)
class SplitEntry:
    """One split.

    Attributes:
        sha256: SHA-256 of the pictures' paths, from the folder that the whole data is in, and
            labels.
        pictures: How many there are.

    Raises:
        ManifestError: A field has the wrong type or range.
    """

    sha256: str
    pictures: int

    def __post_init__(self) -> None:
        field_checks.sha256("a split's sha256", self.sha256)
        number = field_checks.integer("a split's pictures", self.pictures, 1)
        object.__setattr__(self, "pictures", number)


@dataclass(frozen=True)
class DataEntry:
    """A task's data.

    Attributes:
        sha256: SHA-256 of which pictures are in which split.
        seed: Seed that the task was trained with; it splits data that has no splits of its own.
        splits: The splits by name, ``train``, ``val`` and ``test``; empty where the task is from
            before they were noted one by one.

    Raises:
        ManifestError: A field has the wrong type or range.
    """

    sha256: str
    seed: int
    splits: dict[str, SplitEntry] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        field_checks.sha256("data.sha256", self.sha256)
        seed = field_checks.integer("data.seed", self.seed)
        splits = field_checks.table("data.splits", self.splits, _split)
        for name in splits:
            field_checks.choice("a name in data.splits", name, SPLITS)
        object.__setattr__(self, "seed", seed)
        object.__setattr__(self, "splits", splits)

    @property
    def measured(self) -> SplitEntry | None:
        """The split that the task's accuracy was measured on: test, else val."""
        return self.splits.get("test", self.splits.get("val"))


def read_data(where: str, value: object) -> DataEntry | None:
    """Make the entry from a manifest's JSON.

    Raises:
        ManifestError: A field is missing, unknown or wrong.
    """
    return None if value is None else field_checks.build(DataEntry, where, value)


def _split(where: str, value: object) -> SplitEntry:
    return value if isinstance(value, SplitEntry) else field_checks.build(SplitEntry, where, value)
