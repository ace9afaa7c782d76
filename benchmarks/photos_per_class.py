"""How accuracy grows with the photos of each class: readout, FO, SNOW, FT.

    python -m benchmarks.photos_per_class --data textures=imagefolder:PATH --store STORE \
        --photos 5,10,20,50,all --schemes readout,fo,snow,ft --seeds 0,1,2 --output curves.json

For each seed other photos are drawn, the same ones for every scheme, and the smaller draw is part
of the larger one. The test split is measured as it is, once a run. Runs lie in the store as tasks
and are not trained again, so that an interrupted run goes on where it was. Options of the steps are
those of `train --recipe steady`; a draw of few photos gets more epochs, so that it has the steps.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from snow_deploy.allocator import keep_freed_memory
from snow_deploy.data import open_data
from snow_deploy.data.hold_out import part_of
from snow_deploy.data.multilabel import targets_of
from snow_deploy.data.pictures import Splits
from snow_deploy.data.seeding import keyed_permutation
from snow_deploy.training.any_scheme import train_any
from snow_deploy.training.options import TrainOptions, recipe_for
from snow_deploy.training.run import RunSettings
from snow_deploy.training.store import Store
from snow_deploy.training.task_requests import TaskRequest
from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, measure and print one JSON object."""
    given = _parse(arguments)
    keep_freed_memory()
    store = Store(given.store)
    rows: list[dict[str, Any]] = []
    for named in given.data:
        name, _, spec = named.partition("=")
        splits = open_data(spec)
        for photos in given.photos:
            found: dict[str, list[float]] = {scheme: [] for scheme in given.schemes}
            for seed in given.seeds:
                drawn = draw(splits, photos, seed)
                for scheme in given.schemes:
                    request = TaskRequest(
                        f"{name}-{photos or 'all'}-{scheme}-{seed}",
                        drawn,
                        _options(scheme, seed, len(drawn.train), given),
                    )
                    found[scheme].append(_accuracy(store, request, given.workers))
            for scheme, accuracies in found.items():
                rows.append(_row(name, photos, scheme, accuracies))
                print(_line(rows[-1]), file=sys.stderr, flush=True)
    report = {"rows": rows, **{key: getattr(given, key) for key in _SETTINGS}}
    if given.output is not None:
        with atomic_write(given.output, "w") as file:
            json.dump(report, file, indent=1)
    print(json.dumps(report))
    return 0


def draw(splits: Splits, photos: int | None, seed: int) -> Splits:
    """Keep so many training pictures of each class, the first ones of an order of the seed's.

    Args:
        splits: The data.
        photos: How many; None keeps all.
        seed: The order's.

    Returns:
        The draw; the curve of a training is of one of its own pictures a class, since an epoch of
        fifty photos would otherwise measure hundreds. Nothing is chosen by it.
    """
    if photos is None:
        return splits
    targets = targets_of(splits.train)
    kept, shown = list[int](), list[int]()
    for label in range(len(splits.labels)):
        places = [place for place, target in enumerate(targets) if target == label]
        order = keyed_permutation(len(places), "photos per class", seed, label)
        kept += [places[number] for number in order[:photos]]
        shown.append(places[order[0]])
    train, curve = (part_of(splits.train, tuple(sorted(each))) for each in (kept, shown))
    return Splits(train=train, val=curve, test=splits.test, augmentation=splits.augmentation)


_SETTINGS = ("image_size", "batch_size", "epochs", "steps", "precision", "seeds")


def _options(scheme: Any, seed: int, pictures: int, given: argparse.Namespace) -> TrainOptions:
    batch = min(given.batch_size, pictures)
    steps = max(1, pictures // batch)
    fits = scheme == "readout"
    return TrainOptions(
        recipe=recipe_for("steady", scheme),
        epochs=1 if fits else max(given.epochs, math.ceil(given.steps / steps)),
        batch_size=given.batch_size if fits else batch,
        image_size=given.image_size,
        precision=given.precision,
        seed=seed,
        scheme=scheme,
    )


def _accuracy(store: Store, request: TaskRequest, workers: int) -> float:
    """Return what a task reaches on the test split; train it where the store has it not."""
    if request.name not in store.tasks():
        settings = RunSettings(workers=workers, overwrite=True, baseline=False)
        train_any(store, [request], settings)
    record = store.load_task(request.name)
    if different := record.options.differences(request.options):
        msg = f"{request.name} is in {store.root} with other options: {'; '.join(different)}"
        raise SystemExit(msg)
    return record.metrics["accuracy"]


def _row(data: str, photos: int | None, scheme: str, accuracies: list[float]) -> dict[str, Any]:
    return {
        "data": data,
        "photos": photos,
        "scheme": scheme,
        "accuracy": fmean(accuracies),
        "deviation": stdev(accuracies) if len(accuracies) > 1 else None,
        "accuracies": accuracies,
    }


def _line(row: dict[str, Any]) -> str:
    spread = "" if row["deviation"] is None else f" ± {row['deviation']:.4f}"
    return f"{row['data']} {row['photos'] or 'all'} {row['scheme']}: {row['accuracy']:.4f}{spread}"


def _photos(text: str) -> list[int | None]:
    return [None if part == "all" else int(part) for part in text.split(",")]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", action="append", required=True, metavar="NAME=KIND:PATH")
    parser.add_argument("--store", type=Path, required=True, help="with the source in it")
    parser.add_argument("--photos", type=_photos, default=_photos("5,10,20,50,all"))
    parser.add_argument(
        "--schemes", type=lambda text: text.split(","), default=["readout", "fo", "snow", "ft"]
    )
    parser.add_argument(
        "--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2]
    )
    parser.add_argument("--epochs", type=int, default=10, help="at least")
    parser.add_argument("--steps", type=int, default=150, help="at least, with more epochs")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
