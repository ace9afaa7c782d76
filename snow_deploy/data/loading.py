"""Batches of pictures, the same for every number of workers.

What a picture looks like in an epoch depends on (seed, epoch, index) only, and the epoch travels
with the index from the sampler to the workers, so that workers can live through all epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from snow_deploy.data.multilabel import multi_hot
from snow_deploy.data.pictures import MultiLabelPictures
from snow_deploy.data.seeding import keyed_permutation, keyed_seed
from snow_deploy.data.transforms import SMALLEST_CROP, make_transform
from snow_deploy.data.workers import WatchedLoader, batches_fit, handed_over
from snow_deploy.errors import DataError
from snow_runtime.errors import InputError
from snow_runtime.graph.image_size import height_width
from snow_runtime.pictures.remarks import INFO_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch.utils.data import DataLoader

    from snow_deploy.data.pictures import Augmentation, Pictures
    from snow_deploy.data.transforms import Transform
    from snow_runtime.graph.image_size import ImageSize
    from snow_runtime.graph.manifest import Preprocessing
    from snow_runtime.pictures.remarks import Remark


class Sample(NamedTuple):
    """One picture: a float32 image `[3, S, S]`, or None where the picture can't be read.

    `target` is its class, or the labels that are right where any number of them may be. `place` is
    its index in the split; `remark` says what is odd about it, if anything is.
    """

    image: torch.Tensor | None
    target: int | tuple[int, ...]
    name: str
    place: int
    remark: Remark | None = None


class Batch(NamedTuple):
    """Pictures that could be read, with what is right, and the names of those that couldn't.

    Attributes:
        images: float32 `[B, 3, S, S]`; B is 0 where no picture of the batch could be read.
        targets: Their classes, int64 `[B]`; or, where pictures have any number of labels, float32
            `[B, C]`, 1 for each label that is right and 0 for the others.
        skipped: The names of the pictures left out.
        indices: int64 `[B]`, which pictures of the split they are.
        remarks: What is odd about some of them.
    """

    images: torch.Tensor
    targets: torch.Tensor
    skipped: tuple[str, ...]
    indices: torch.Tensor
    remarks: tuple[Remark, ...] = ()


class TaskDataset(Dataset[Sample]):
    """Pictures by (epoch, index), augmented by (seed, epoch, index) and nothing else."""

    def __init__(
        self,
        pictures: Pictures,
        transform: Transform,
        seed: int,
        keys: Sequence[int] | None = None,
    ) -> None:
        """Take the pictures and what to do with them.

        Args:
            pictures: The pictures.
            transform: Way from a picture to a tensor.
            seed: Seed of the augmentation.
            keys: Numbers that take the place of each index in the augmentation's seed, so that a
                picture looks the same in every list that it is in.
        """
        self._pictures = pictures
        self._several = pictures if isinstance(pictures, MultiLabelPictures) else None
        self._transform = transform
        self._seed = seed
        self._keys = keys

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self._pictures)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Return the picture at (epoch, index); torch's own random state is left as it was."""
        epoch, index = key
        several, name = self._several, self._pictures.name(index)
        target = self._pictures.target(index) if several is None else several.present(index)
        try:
            picture = self._pictures.load(index)
        except InputError:
            return Sample(None, target, name, index)
        remark = picture.info.get(INFO_KEY)
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed the accelerators as well, and that would stay.
            drawn = index if self._keys is None else self._keys[index]
            torch.default_generator.manual_seed(keyed_seed("augment", self._seed, epoch, drawn))
            return Sample(self._transform(picture), target, name, index, remark)


class EpochSampler(Sampler[tuple[int, int]]):
    """The indices of one epoch, each with the epoch's number; one process's share of them.

    The order depends on (seed, epoch) only. Process `rank` takes every `world_size`-th index
    from the `rank`-th on.
    """

    def __init__(
        self,
        length: int,
        *,
        seed: int,
        shuffle: bool,
        pad: bool | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Take the choices.

        Args:
            length: How many pictures there are.
            seed: The order depends on it.
            shuffle: Whether to shuffle them; False gives them in order.
            pad: Whether to repeat the first pictures until all processes have the same number, as
                training with gradients averaged across processes needs; evaluation must not count a
                picture twice. The default is `shuffle`.
            rank: The number of this process, in [0, world_size).
            world_size: How many processes share the epoch.
        """
        self._length = length
        self._seed = seed
        self._shuffle = shuffle
        self._pad = shuffle if pad is None else pad
        self._rank = rank
        self._world_size = world_size
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return how many pictures this process gets in an epoch."""
        share, rest = divmod(self._length, self._world_size)
        return share + (rest > 0 if self._pad else self._rank < rest)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (epoch, index) for this process's share of the epoch."""
        epoch = self._epoch
        order = (
            keyed_permutation(self._length, "shuffle", self._seed, epoch)
            if self._shuffle
            else np.arange(self._length)
        )
        places = self._rank + self._world_size * np.arange(len(self))
        for index in order[places % max(self._length, 1)].tolist():
            yield epoch, index


class _Collate:
    """Make a batch of samples, the unreadable ones named beside it.

    `labels` is their number where pictures have any number of them, None where each has a class.
    """

    def __init__(self, image_size: ImageSize, labels: int | None, *, shared: bool) -> None:
        self._image_size = image_size
        self._labels = labels
        self._shared = shared

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        readable = [
            (sample.image, sample.target, sample.place)
            for sample in samples
            if sample.image is not None
        ]
        height, width = height_width(self._image_size)
        images = (
            torch.stack([image for image, _, _ in readable])
            if readable
            else torch.empty(0, 3, height, width)
        )
        indices = torch.tensor([place for _, _, place in readable], dtype=torch.int64)
        return Batch(
            images=handed_over(images, shared=self._shared),
            targets=handed_over(self._targets([target for _, target, _ in readable]), shared=False),
            skipped=tuple(sample.name for sample in samples if sample.image is None),
            indices=handed_over(indices, shared=False),
            remarks=tuple(sample.remark for sample in samples if sample.remark is not None),
        )

    def _targets(self, found: Sequence[Any]) -> torch.Tensor:
        if self._labels is None:
            return torch.tensor(found, dtype=torch.int64)
        return torch.from_numpy(multi_hot(found, self._labels))


def make_view_loader(
    pictures: Pictures,
    transform: Transform,
    keys: Sequence[int],
    *,
    image_size: ImageSize,
    seed: int,
    workers: int,
    batch_size: int = 32,
) -> DataLoader[Sample]:
    """Return a loader of `Batch`es that gives every picture once, in order, in one view of it.

    Args:
        pictures: The pictures.
        transform: The view; what it draws depends on the seed and the picture's key alone.
        keys: A number for each picture.
        image_size: S, S of the [3, S, S] that the transform returns.
        seed: The view's.
        workers: Processes that load pictures.
        batch_size: Pictures of a batch.
    """
    labels = len(pictures.labels) if isinstance(pictures, MultiLabelPictures) else None
    height, width = height_width(image_size)
    shared = batches_fit(4 * 3 * height * width * min(batch_size, len(pictures)), workers)
    return WatchedLoader(
        TaskDataset(pictures, transform, seed, keys),
        batch_size=batch_size,
        sampler=EpochSampler(len(pictures), seed=seed, shuffle=False),
        num_workers=workers,
        collate_fn=_Collate(image_size, labels, shared=shared),
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(keyed_seed("loader", seed)),
    )


def make_loader(
    pictures: Pictures,
    *,
    preprocessing: Preprocessing,
    train: bool,
    augmentation: Augmentation,
    batch_size: int,
    seed: int,
    workers: int,
    smallest_crop: float = SMALLEST_CROP,
    process: tuple[int, int] = (0, 1),
) -> DataLoader[Sample]:
    """Return a loader of `Batch`es; call `loader.sampler.set_epoch` before each epoch.

    In training the pictures are shuffled and augmented, and a last, smaller batch is dropped if
    it has one picture only (BatchNorm can't be trained on it) or if two or more full ones remain.
    In evaluation every picture comes once, in order. `process` is (rank, world size): each process
    gets its own share. With workers the loader never waits for ever, see `WatchedLoader`.

    Raises:
        DataError: The only batch to train on would hold one picture.
    """
    rank, world_size = process
    sampler = EpochSampler(
        len(pictures), seed=seed, shuffle=train, rank=rank, world_size=world_size
    )
    transform = make_transform(
        preprocessing, train=train, augmentation=augmentation, smallest_crop=smallest_crop
    )
    height, width = height_width(preprocessing.image_size)
    labels = len(pictures.labels) if isinstance(pictures, MultiLabelPictures) else None
    shared = batches_fit(4 * 3 * height * width * min(batch_size, len(sampler)), workers)
    return WatchedLoader(
        TaskDataset(pictures, transform, seed),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_Collate(preprocessing.image_size, labels, shared=shared),
        drop_last=train and _drops_last(len(sampler), batch_size),
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        # Without its own generator the loader would draw from torch's global one.
        generator=torch.Generator().manual_seed(keyed_seed("loader", seed)),
    )


def _drops_last(count: int, batch_size: int) -> bool:
    """Tell whether training on `count` pictures should leave out a last, smaller batch."""
    full, rest = divmod(count, batch_size)
    if full == 0 and rest == 1:
        msg = (
            "The train split gives one picture to each process, expected two or more: BatchNorm "
            "cannot be trained on one. Add pictures, or train with fewer processes."
        )
        raise DataError(msg)
    return full > 1 or (full == 1 and rest == 1)
