"""Compare trained networks picture by picture, across stores and days: who is ahead, how surely.

    python -m benchmarks.paired_leads --data clothing STORE [STORE ...] --keep clothing.json \
        [--over snow]

Reads what each task of the stores answered to the test pictures, and adds to the file, for each
scheme or form and each seed, which pictures it had right: a later run, on another machine, compares
with them. Then prints every contender's mean and deviation, and its lead over one of them with 95 %
(Tango's score interval, corrected for continuity, as of one run with the seeds' mean rates).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from snow_deploy.training.answers import read_answers
from snow_deploy.training.lead import Lead, lead_of
from snow_deploy.training.store import Store
from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snow_deploy.training.answers import Answers
    from snow_deploy.training.options import TrainOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Add what the stores hold to the file, and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stores", type=Path, nargs="*", help="stores of trained tasks")
    parser.add_argument("--data", required=True, help="name of the data that all were trained on")
    parser.add_argument("--keep", type=Path, required=True, help="file of what each had right")
    parser.add_argument("--over", default="snow", help="contender that the others are held to")
    given = parser.parse_args(arguments)
    rows = json.loads(given.keep.read_text())["rows"] if given.keep.is_file() else []
    for store in given.stores:
        rows = merge(rows, right_rows(Store(store), given.data))
    with atomic_write(given.keep, "w") as file:
        json.dump({"rows": rows}, file, indent=1)
        file.write("\n")
    for line in comparison([row for row in rows if row["data"] == given.data], given.over):
        print(line)
    return 0


def right_rows(store: Store, data: str) -> Iterator[dict[str, Any]]:
    """Give, for each task that kept its answers, which test pictures it had right.

    Each row has `data`, `name`, `seed`, `pictures` (a hash of which pictures were asked and of
    their classes) and `right`, a digit a picture.
    """
    for task in store.tasks():
        answers = read_answers(store.run_path(task))
        if answers is None:
            continue
        options = store.load_task(task).options
        yield {
            "data": data,
            "name": name_of(options),
            "seed": options.seed,
            "epochs": options.epochs,
            "pictures": _asked(answers),
            "right": "".join("01"[int(right)] for right in answers.right()),
        }


def name_of(options: TrainOptions) -> str:
    """Name a contender: its scheme and, of a smaller delta, its form."""
    form = options.delta.form_words() if options.scheme == "snow" else []
    return ", ".join([options.scheme, *form])


def merge(
    rows: Sequence[dict[str, Any]], new: Iterator[dict[str, Any]] | Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Put new rows in the place of those of the same data, name, epochs and seed, or behind all.

    Raises:
        ValueError: Two of the new ones are of one contender: its recipe was searched, or varied.
    """
    added: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in new:
        if _key(row) in added:
            msg = f"two tasks of one store are {row['name']} of seed {row['seed']}"
            raise ValueError(msg)
        added[_key(row)] = row
    return list(({_key(row): row for row in rows} | added).values())


def comparison(rows: Sequence[dict[str, Any]], over: str) -> Iterator[str]:
    """Give a line for each contender: its accuracies, and its lead.

    Args:
        rows: Of one data set.
        over: Contender that the lead is over, with the most epochs that there are of it.
    """
    groups: dict[tuple[str, int], dict[int, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["name"], row["epochs"]), {})[row["seed"]] = row
    base = groups.get(max((key for key in groups if key[0] == over), default=("", 0)), {})
    for (name, epochs), by_seed in groups.items():
        values = [accuracy(row) for row in by_seed.values()]
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        seeds = ", ".join(f"{value:.4f}" for value in values)
        found = lead(by_seed, base) if by_seed is not base else None
        ahead = "" if found is None else f"; over {over} {found.text()}"
        yield f"{name}, {epochs} epochs: {fmean(values):.3f}{spread} ({seeds}){ahead}"


def accuracy(row: dict[str, Any]) -> float:
    """Return the share of the pictures that are right."""
    return float(row["right"].count("1") / len(row["right"]))


def lead(mine: dict[int, dict[str, Any]], others: dict[int, dict[str, Any]]) -> Lead | None:
    """Compare two contenders, a seed of one with the same seed of the other.

    Returns:
        None where they have no seed in common, or other pictures.
    """
    won = lost = 0
    seeds = sorted(mine.keys() & others.keys())
    for seed in seeds:
        if mine[seed]["pictures"] != others[seed]["pictures"]:
            return None
        pairs = list(zip(mine[seed]["right"], others[seed]["right"], strict=True))
        won += pairs.count(("1", "0"))
        lost += pairs.count(("0", "1"))
    if not seeds:
        return None
    return lead_of(len(mine[seeds[0]]["right"]), won / len(seeds), lost / len(seeds))


def _asked(answers: Answers) -> str:
    return hashlib.sha256(answers.index.tobytes() + answers.target.tobytes()).hexdigest()[:16]


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["data"], row["name"], row["epochs"], row["seed"]


if __name__ == "__main__":
    sys.exit(main())
