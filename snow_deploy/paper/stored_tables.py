"""Tables that earlier commands left in a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from snow_deploy.models.options import FORM, DeltaOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class StoredTable:
    """What a command wrote as JSON.

    Attributes:
        rows: Cells by the columns' keys.
        facts: What the figures depend on.
    """

    rows: Sequence[Mapping[str, Any]]
    facts: Mapping[str, Any]

    def pick(self, **wanted: object) -> list[Mapping[str, Any]]:
        """Return the rows whose cells are these."""
        return [r for r in self.rows if all(r.get(key) == value for key, value in wanted.items())]

    def first(self, key: str, **wanted: object) -> float | None:
        """Return a number of the first row whose cells are these; None where there is none."""
        return next((float(r[key]) for r in self.pick(**wanted) if r.get(key) is not None), None)

    def circumstances(self, batches_of: str = "") -> str:
        """Say on which data or device, and how, it was measured.

        Args:
            batches_of: Which block of Table 8 a figure is of; empty for all rows.
        """
        rows = self.pick(batches=batches_of) if batches_of else self.rows
        words = [", ".join(self.facts.get("data") or [])]
        epochs, size = self.facts.get("epochs"), self.facts.get("image_size")
        if epochs and words[0]:
            tuned, recipe = self.facts.get("tuned"), self.facts.get("recipe")
            words += [f"{epochs} epochs"]
            words += ["recipes chosen for each scheme"] if tuned else []
            words += [f"recipe {recipe}"] if recipe and not tuned else []
        words += [f"{size} px"] if size else []
        batches = sorted({row["batch"] for row in rows if row.get("batch")})
        if len(batches) == 1 or (batches and "tasks" in rows[0]):  # of serving the largest
            words += [f"batch {batches[-1]}"]
        elif batches:
            snow = next((r for r in rows if str(r.get("scheme")).startswith("snow")), None)
            words += [] if snow is None else [f"SNOW at a batch of {snow['batch']}"]
        words += self._form()
        words += [str(self.facts["device"])] if "device" in self.facts else []
        return ", ".join(word for word in words if word)

    def _form(self) -> list[str]:
        """Say of what form the deltas were, where that was not the paper's."""
        delta = self.facts.get("delta") or {}
        usual = DeltaOptions()
        return [
            f"{name.replace('_', '-')} {delta[name]}"
            for name in FORM
            if name in delta and delta[name] != getattr(usual, name)
        ]


_OF_TODAY: Final[Mapping[str, frozenset[str]]] = {
    "table4": frozenset({"option", "value"}),
    "table5": frozenset({"scheme", "tasks"}),
    "table6": frozenset({"subscription", "over_attention"}),
    "table7": frozenset({"scheme"}),
    "table8": frozenset({"scheme", "batches"}),
    "figure5": frozenset({"data", "all_changed_share"}),
    "figure6": frozenset({"data", "converged_epoch"}),
}
"""What every row has: before they had the paper's numbers, other tables had these names."""

Tables = dict[str, StoredTable]
"""By the command's name."""


def read_tables(folder: Path) -> Tables:
    """Read all tables of a folder; what is damaged, of another kind or too old is left out."""
    found: Tables = {}
    for path in sorted(folder.glob("*.json")):
        table = _read(path)
        if table is not None:
            found[path.stem] = table
    return found


def _read(path: Path) -> StoredTable | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        wanted = _OF_TODAY.get(path.stem, frozenset())
        same = document["name"] == path.stem and all(wanted <= set(r) for r in document["rows"])
        return StoredTable(document["rows"], document["facts"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
