"""Compare trained networks picture by picture, across stores and days: who is ahead, how surely.

    python -m benchmarks.paired_leads --data clothing STORE [STORE ...] --keep clothing.json \
        [--over snow]

Reads what the tasks named `clothing` or `clothing-...` answered to the test pictures, and adds to
the file, for each scheme or form and each seed, which pictures it had right: a later run, on
another machine, compares with them. Then prints every contender's mean and deviation, and its lead
over one of them with 95 % (Tango's score interval, corrected for continuity, as of one run with the
seeds' mean rates). A contender is a scheme or form with a digest of its options.
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
    parser.add_argument("--data", required=True, help="name of the data, and of its tasks")
    parser.add_argument("--keep", type=Path, required=True, help="file of what each had right")
    parser.add_argument(
        "--over",
        default="snow",
        help="contender that the others are held to, by its name or digest",
    )
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

    Each row has `data`, `name`, `options` (a digest of how it was trained, but for the seed),
    `seed`, `epochs`, `pictures` (a hash of the data and of which of its pictures were asked) and
    `right`, a digit a picture.
    """
    for task in store.tasks():
        answers = read_answers(store.run_path(task))
        if answers is None or not (task == data or task.startswith(f"{data}-")):
            continue
        record = store.load_task(task)
        options = record.options
        yield {
            "data": data,
            "name": name_of(options),
            "options": _digest({**options.to_dict(), "seed": None}),
            "seed": options.seed,
            "epochs": options.epochs,
            "pictures": _asked(record.data_sha256, answers),
            "right": "".join("01"[int(right)] for right in answers.right()),
        }


def name_of(options: TrainOptions) -> str:
    """Name a contender: its scheme and, of a smaller delta, its form."""
    form = options.delta.form_words() if options.scheme == "snow" else []
    return ", ".join([options.scheme, *form])


def merge(
    rows: Sequence[dict[str, Any]], new: Iterator[dict[str, Any]] | Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Put new rows in the place of those of the same data, options and seed."""
    found = {_key(row): row for row in [*rows, *new]}
    return [found[key] for key in sorted(found)]


def comparison(rows: Sequence[dict[str, Any]], over: str) -> Iterator[str]:
    """Give a line for each contender: its accuracies, and its lead.

    Args:
        rows: Of one data set.
        over: Name or digest of the contender that the lead is over; of several with the name the
            first one.
    """
    groups: dict[tuple[str, str, int], dict[int, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["name"], row["options"], row["epochs"]), {})[row["seed"]] = row
    base = next((group for key, group in groups.items() if over in key[:2]), {})
    for (name, options, epochs), by_seed in groups.items():
        values = [accuracy(by_seed[seed]) for seed in sorted(by_seed)]
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        seeds = ", ".join(f"{value:.4f}" for value in values)
        found = lead(by_seed, base) if by_seed is not base else None
        common = sorted(by_seed.keys() & base.keys())
        of = "" if by_seed.keys() == base.keys() else f", of seeds {common} alone"
        ahead = "" if found is None else f"; over {over} {found.text()}{of}"
        yield f"{name} [{options}], {epochs} epochs: {fmean(values):.3f}{spread} ({seeds}){ahead}"


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


def _asked(fingerprint: str, answers: Answers) -> str:
    return _digest([fingerprint, answers.index.tolist(), answers.target.tolist()])


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["data"], row["name"], row["options"], row["pictures"], row["seed"]


if __name__ == "__main__":
    sys.exit(main())
