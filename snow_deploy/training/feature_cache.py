"""The feature cache of a store: what the source's taps say of each picture, computed once.

STORE/features/KEY/VIEW/ has the blocks of one source, preprocessing and view. A picture is known by
its name, size and time of change, so that any task with the same pictures finds its rows, whatever
it calls them and however it splits them; no picture is opened for that. The folder may be deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from snow_deploy.data.hold_out import part_of
from snow_deploy.data.loading import make_view_loader
from snow_deploy.data.transforms import SMALLEST_CROP, make_transform
from snow_deploy.errors import DataError, TrainingError
from snow_deploy.models.finite_values import all_finite
from snow_deploy.models.fold_source import tap_key
from snow_deploy.training.feature_blocks import read_blocks, write_block
from snow_runtime.graph.features_entry import TapEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from snow_deploy.data.pictures import Pictures
    from snow_deploy.models.source import Source
    from snow_deploy.training.store import Store
    from snow_runtime.graph.manifest import Preprocessing
    from snow_runtime.progress import ProgressCallback

_BATCH = 32
BLOCK_PICTURES = 1024
"""Most pictures of a block: what a killed run loses, and what is held in memory, is bounded."""


@dataclass(frozen=True)
class View:
    """One way to look at each picture.

    Attributes:
        number: 0 is the centre, as the device sees it; each other number is a crop and flip drawn
            for it.
        seed: Seed of the crops and flips.
        smallest_crop: Smallest share of a picture's area that is cropped.
    """

    number: int = 0
    seed: int = 0
    smallest_crop: float = SMALLEST_CROP

    @property
    def name(self) -> str:
        """Folder of its blocks."""
        if self.number == 0:
            return "centre"
        return f"crop{self.smallest_crop:g}-seed{self.seed}-{self.number}"


@dataclass(frozen=True)
class PooledFeatures:
    """Features of the pictures of a list that could be read.

    Attributes:
        rows: float16 [M, F], all taps' means one behind the other.
        places: int64 [M], which pictures of the list they are of, ascending.
        unreadable: Names of the others.
    """

    rows: NDArray[np.float16]
    places: NDArray[np.int64]
    unreadable: tuple[str, ...]


class FeatureCache:
    """Features by picture, on the disk.

    Attributes:
        store: The store.
        preprocessing: As on the device.
        folder: Where the blocks are.
        taps: Whose features they are, in order.
        width: F, how many features a picture has.
        computed: How many pictures' rows were computed by this object, not found.
    """

    def __init__(
        self, store: Store, source: Source, preprocessing: Preprocessing, *, workers: int = 2
    ) -> None:
        """Name the folder; nothing is read or written yet.

        Args:
            store: The store.
            source: The source; it returns its taps' means from now on.
            preprocessing: Preprocessing, as on the device.
            workers: Processes that load pictures.
        """
        source.pool_taps()
        self._source = source
        self.preprocessing = preprocessing
        self._workers = workers
        taps = [(tap.name, tap.channels) for tap in source.anatomy.taps]
        facts = json.dumps([source.fingerprint, asdict(preprocessing), taps])
        self.store = store
        self.folder = store.features_path / hashlib.sha256(facts.encode()).hexdigest()[:16]
        self.taps = tuple(TapEntry(*tap) for tap in taps)
        self.width = sum(channels for _, channels in taps)
        self.computed = 0

    def features(
        self,
        pictures: Pictures,
        view: View = View(),
        progress: ProgressCallback | None = None,
    ) -> PooledFeatures:
        """Return the features of pictures; those that no block has are computed and kept.

        What cannot be read is tried anew each time: a disk that failed once, or a right that was
        missing, leaves no trace in a file.

        Args:
            pictures: The pictures.
            view: How each is looked at.
            progress: Callback that gets what share of the pass is done.

        Raises:
            StoreError: A block is damaged, or cannot be written.
            SourceError: A weight of the source is not finite.
            TrainingError: A feature is NaN, or too large for half precision.
            DataError: No picture can be read, or a process that loads pictures was killed.
        """
        keys = [picture_key(pictures.name(index)) for index in range(len(pictures))]
        rows = np.empty((len(keys), self.width), np.float16)
        state = self._look_up(keys, view, rows)
        first = {key: place for place, key in reversed([*enumerate(keys)])}
        missing = [place for key, place in first.items() if key not in state]
        if missing:
            with self._fast_source():
                self._add(pictures, view, (keys, rows, state), sorted(missing), progress)
            for place, key in enumerate(keys):  # one picture may be there by several names
                rows[place] = rows[first[key]]
        readable = [place for place, key in enumerate(keys) if key in state]
        if not readable:
            msg = f"none of the {len(pictures)} pictures could be read; check the files"
            raise DataError(msg)
        if len(readable) < len(keys):
            rows = rows[readable]
        unreadable = [pictures.name(place) for place, key in enumerate(keys) if key not in state]
        return PooledFeatures(rows, np.array(readable, np.int64), tuple(unreadable))

    def _add(
        self,
        pictures: Pictures,
        view: View,
        known: tuple[list[str], NDArray[np.float16], set[str]],
        missing: list[int],
        progress: ProgressCallback | None,
    ) -> None:
        """Compute and write what is missing, block by block, and note it in rows and state."""
        keys, rows, state = known
        note = _counter(progress, len(missing))
        for start in range(0, len(missing), BLOCK_PICTURES):
            some = part_of(pictures, tuple(missing[start : start + BLOCK_PICTURES]))
            read, found = self._compute(some, view, note)
            done = [some.indices[index] for index in read]
            rows[done] = found
            if done:
                write_block(self.folder / view.name, [keys[place] for place in done], found)
            state |= {keys[place] for place in done}

    @contextmanager
    def _fast_source(self) -> Iterator[None]:
        """Let the source's passes run on the GPU, or packed where there is none.

        It goes back to where it was: a run that trains has it on the GPU already.
        """
        if not torch.cuda.is_available():
            self._source.pack(_BATCH, self.preprocessing.image_size)
            yield
            return
        before = next(self._source.network.parameters()).device
        self._source.network.cuda()
        try:
            yield
        finally:
            self._source.network.to(before)

    def _look_up(self, keys: list[str], view: View, rows: NDArray[np.float16]) -> set[str]:
        """Copy what the blocks have; return the pictures that were found."""
        places = dict[str, list[int]]()
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        found = set[str]()
        for block in read_blocks(self.folder / view.name, self.width):
            wanted = [
                (place, row)
                for row, key in enumerate(block.keys)
                if key not in found
                for place in places.get(key, ())
            ]
            if wanted:
                into, out_of = np.array(wanted).T
                rows[into] = block.rows[out_of]
            found |= places.keys() & set(block.keys)
        return found

    def _compute(
        self, pictures: Pictures, view: View, note: Callable[[int], None]
    ) -> tuple[list[int], NDArray[np.float16]]:
        """Run the source over pictures: which could be read, and a row for each of those."""
        transform = make_transform(
            self.preprocessing,
            train=view.number > 0,
            augmentation="photo",
            smallest_crop=view.smallest_crop,
        )
        loader = make_view_loader(
            pictures,
            transform,
            [int(_hash(pictures.name(index))[:12], 16) for index in range(len(pictures))],
            image_size=self.preprocessing.image_size,
            seed=view.seed * 2**16 + view.number,
            workers=self._workers,
            batch_size=_BATCH,
        )
        read, parts = list[int](), [np.empty((0, self.width), np.float16)]
        for batch in loader:
            if len(batch.images):
                parts.append(self._pooled(batch.images))
                read += batch.indices.tolist()
            note(len(batch.images) + len(batch.skipped))
        self.computed += len(read)
        return read, np.concatenate(parts)

    def _pooled(self, images: torch.Tensor) -> NDArray[np.float16]:
        """Run the source on a batch: [B, F] in half precision."""
        device = next(self._source.network.parameters()).device
        taps = [tap_key(tap) for tap in self._source.anatomy.taps]
        images = images.to(device, memory_format=torch.channels_last)
        stream = self._source.stream(images, taps)
        whole = torch.cat([stream[key] for key in taps], 1).half()
        if not all_finite(whole):
            msg = (
                "a pooled feature of the source is NaN or above 65504, the largest number in half "
                "precision. See whether the source's weights and normalisation belong together."
            )
            raise TrainingError(msg)
        return whole.cpu().numpy()


def picture_key(name: str) -> str:
    """Return what a picture is known by: a hash of its name and, of a file, size and time.

    The file of a picture in a tar, `TAR#MEMBER`, is the tar.
    """
    file = name if os.path.lexists(name) else _tar_of(name)
    try:
        status = os.stat(file)  # noqa: PTH116 - a name need not be a path
    except (OSError, ValueError):
        return _hash(name)
    path = f"{os.path.realpath(file)}{name[len(file) :]}"
    return _hash(f"{path}\0{status.st_size}\0{status.st_mtime_ns}")


def _tar_of(name: str) -> str:
    """Return the file of `TAR#MEMBER`, of whose names either may have a # too; else the name."""
    cut = name.find("#")
    while cut >= 0:
        if os.path.isfile(name[:cut]):  # noqa: PTH113 - a name need not be a path
            return name[:cut]
        cut = name.find("#", cut + 1)
    return name


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _counter(progress: ProgressCallback | None, whole: int) -> Callable[[int], None]:
    """Return a callback that adds up how many pictures were computed."""
    done = 0

    def note(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress("pictures", done / whole)

    return note
