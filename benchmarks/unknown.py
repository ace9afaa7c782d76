"""What a store's readouts call unknown: other subjects, plain colours, noise, their own pictures.

    python benchmarks/unknown.py STORE textures=imagefolder:PATH clothing=imagefolder:PATH

Each readout is shown the test pictures of all data sets, and drawn ones. Features come from the
store's cache. `lost` is the share of its own rightly answered test pictures that come out unknown.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from snow_deploy.data import open_data
from snow_deploy.models.source import Source
from snow_deploy.training.feature_cache import FeatureCache
from snow_deploy.training.store import Store
from snow_runtime.confidence.familiarity import unlikenesses
from snow_runtime.confidence.probabilities import to_probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_deploy.data.pictures import Pictures
    from snow_deploy.training.task_record import TaskRecord

_SIDE = 192
_DRAWN = 40


@dataclass(frozen=True)
class DrawnPictures:
    """Pictures of plain colours, of smooth blotches, or of noise."""

    kind: str
    labels: tuple[str, ...] = ("drawn",)

    def __len__(self) -> int:
        return _DRAWN

    def target(self, _index: int) -> int:
        """Return the only class."""
        return 0

    def name(self, index: int) -> str:
        """Return what the cache knows a picture by."""
        return f"benchmarks/unknown.py {self.kind} {index}"

    def load(self, index: int) -> Image.Image:
        """Draw a picture."""
        rng = np.random.default_rng([index, len(self.kind)])
        if self.kind == "plain":
            return Image.new("RGB", (_SIDE, _SIDE), tuple(rng.integers(0, 256, 3).tolist()))
        side = _SIDE if self.kind == "noise" else int(rng.integers(2, 24))
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        return Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)


def shown(
    record: TaskRecord, rows: NDArray[np.float16], cache: FeatureCache
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the answers to pictures, which are unlike training, and which are unsure."""
    index = record.state["index"].numpy()
    weight, bias = (record.state[f"classifier.{key}"].numpy() for key in ("weight", "bias"))
    logits = rows[:, index].astype(np.float32) @ weight.T + bias
    known = record.confidence
    if known is None or known.familiarity is None:
        sys.exit(f"{record.name} does not say what its pictures look like: train it anew")
    unlike = unlikenesses(known.familiarity, rows.astype(np.float32), cache.taps, logits) > 1
    values = to_probabilities(logits, "one", known.temperature)
    unsure = values.max(1) < (known.least_probability or 0)
    return logits.argmax(1), unlike, unsure


def main() -> None:
    """Show every readout all pictures, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("store", help="store of readouts")
    parser.add_argument("data", nargs="+", metavar="TASK=KIND:PATH", help="data of each readout")
    given = parser.parse_args()
    store = Store(given.store)
    data = dict(each.split("=", 1) for each in given.data)
    records = {name: store.load_task(name) for name in data}
    source = Source(store.source_weights())
    preprocessing = next(iter(records.values())).preprocessing
    cache = FeatureCache(store, source, preprocessing, workers=0)
    pictures: dict[str, Pictures] = {
        name: open_data(spec, seed=0).final[1] for name, spec in data.items()
    }
    pictures |= {kind: DrawnPictures(kind) for kind in ("plain", "smooth", "noise")}
    rows = {name: cache.features(each).rows for name, each in pictures.items()}
    print(f"{'task':<12} {'shown':<12} {'pictures':>8} {'unknown':>8} {'unlike':>8} {'unsure':>8}")
    for task, record in records.items():
        for name, found in rows.items():
            answers, unlike, unsure = shown(record, found, cache)
            unknown = unlike | unsure
            line = (
                f"{task:<12} {name:<12} {len(found):>8} {unknown.mean():>8.3f} "
                f"{unlike.mean():>8.3f} {unsure.mean():>8.3f}"
            )
            if name == task:
                truth = [pictures[name].target(n) for n in range(len(pictures[name]))]
                right = answers == np.array(truth)
                line += f"  lost {unknown[right].mean():.3f} of the right, {right.mean():.4f} right"
            print(line)


if __name__ == "__main__":
    main()
