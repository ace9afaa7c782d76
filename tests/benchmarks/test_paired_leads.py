"""Who is ahead, picture by picture: rows of one store, kept, and compared with those of another."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks import paired_leads
from snow_deploy.models.options import DeltaOptions
from snow_deploy.training.answers import Answers
from snow_deploy.training.options import TrainOptions, recipe_for

if TYPE_CHECKING:
    from pathlib import Path

TARGET = np.arange(40) % 3


@dataclass
class FakeStore:
    """Tasks by name, with the pictures that each has right."""

    root: Path
    options: dict[str, TrainOptions] = field(default_factory=dict)

    def add(self, name: str, options: TrainOptions, right: np.ndarray[Any, Any]) -> None:
        self.options[name] = options
        first = np.where(right, TARGET, (TARGET + 1) % 3)
        answers = Answers(np.arange(40), TARGET, np.stack([first, (first + 1) % 3], 1))
        answers.write(self.run_path(name))

    def tasks(self) -> tuple[str, ...]:
        return tuple(self.options)

    def run_path(self, name: str) -> Path:
        return self.root / name

    def load_task(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(options=self.options[name], data_sha256="of clothing")


def options(scheme: Any, seed: int, delta: DeltaOptions | None = None) -> TrainOptions:
    return TrainOptions(
        delta=delta or DeltaOptions(),
        recipe=recipe_for("steady", scheme),
        scheme=scheme,
        seed=seed,
        epochs=3,
    )


def test_stores_are_compared_over_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    first, second = FakeStore(tmp_path / "one"), FakeStore(tmp_path / "two")
    right = {(name, seed): rng.random(40) < 0.7 for name in ("snow", "ft") for seed in (0, 1)}
    for seed in (0, 1):
        first.add(f"clothing-a{seed}", options("snow", seed), right["snow", seed])
        second.add(f"clothing-b{seed}", options("ft", seed), right["ft", seed])
    second.add("textures-b", options("fo", 0), right["ft", 0])
    second.add(
        "clothing-c", options("snow", 0, DeltaOptions(from_stage=4, blocks=1)), right["ft", 0]
    )
    stores = {"one": first, "two": second}
    monkeypatch.setattr(paired_leads, "Store", lambda path: stores[path.name])
    keep = tmp_path / "kept.json"

    for name in ("one", "two", "two"):  # what is there already takes its own place again
        arguments = ["--data", "clothing", "--keep", str(keep), str(tmp_path / name)]
        assert paired_leads.main(arguments) == 0

    rows = json.loads(keep.read_text())["rows"]
    assert [(row["name"], row["seed"]) for row in rows] == [
        *(("ft", 0), ("ft", 1), ("snow", 0), ("snow", 1)),
        ("snow, blocks 1, from-stage 4", 0),
    ]
    for row in rows[:4]:
        assert row["right"] == "".join("01"[int(r)] for r in right[row["name"], row["seed"]])
    shown = capsys.readouterr().out.splitlines()[-3:]
    ft = [right["ft", seed].mean() for seed in (0, 1)]
    ahead = np.mean([right["ft", seed].mean() - right["snow", seed].mean() for seed in (0, 1)])
    assert f", 3 epochs: {np.mean(ft):.3f} ± {np.std(ft, ddof=1):.3f}" in shown[0]
    assert f"over snow {ahead:+.3f} (" in shown[0]
    assert "over" not in shown[1]  # it is not held to itself
    assert "±" not in shown[2]  # of one seed
    assert "of seeds [0] alone" in shown[2]
    assert "alone" not in shown[0]


def test_a_lead_has_the_bounds_of_one_run_at_the_mean_rates() -> None:
    """Twelve won and four lost of forty, in each of two seeds, is what one seed of them gives."""
    mine = "1" * 12 + "0" * 4 + "1" * 24
    others = "0" * 12 + "1" * 4 + "1" * 24
    rows = {seed: {"pictures": "p", "right": mine} for seed in (0, 1)}
    base = {seed: {"pictures": "p", "right": others} for seed in (0, 1)}

    twice = paired_leads.lead(rows, base)
    once = paired_leads.lead({0: rows[0]}, base)

    assert twice == once
    assert twice is not None
    assert twice.mean == pytest.approx(8 / 40)
    assert twice.low < 8 / 40 < twice.high
    assert paired_leads.lead(rows, {0: {"pictures": "others", "right": others}}) is None
    assert paired_leads.lead(rows, {7: base[0]}) is None


def test_contenders_of_other_options_are_others(tmp_path: Path) -> None:
    """Such as SNOW by two recipes: neither takes the other's place."""
    store = FakeStore(tmp_path)
    steady = options("snow", 0)
    store.add("clothing-a", steady, TARGET == 0)
    store.add("clothing-b", replace(steady, batch_size=2 * steady.batch_size), TARGET == 1)

    rows = paired_leads.merge([], paired_leads.right_rows(store, "clothing"))  # type: ignore[arg-type]

    assert len({row["options"] for row in rows}) == len(rows) == 2
    by_digest = list(paired_leads.comparison(rows, rows[1]["options"]))
    assert "over" in by_digest[0]
    assert "over" not in by_digest[1]
