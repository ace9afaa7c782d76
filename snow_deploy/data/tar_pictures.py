"""Labelled pictures in tars, read from where they lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from snow_deploy.data.multilabel import no_single_class
from snow_runtime.errors import InputError
from snow_runtime.pictures.preprocessing import decode_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from snow_deploy.data.tar_index import TarSample


@dataclass(frozen=True)
class _InTars:
    """Pictures in tars.

    Attributes:
        places: Tar and sample of each.
        labels: The name of every label.
    """

    places: tuple[tuple[Path, TarSample], ...] = field(repr=False)
    labels: tuple[str, ...]

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.places)

    def name(self, index: int) -> str:
        """Return the tar and the member of one picture, as `score` names it."""
        tar, sample = self.places[index]
        return f"{tar}#{sample.member}"

    def load(self, index: int) -> Image.Image:
        """Return one picture in RGB, turned as its EXIF orientation says.

        Raises:
            snow_runtime.errors.InputError: It can't be read; the message names tar and member.
        """
        tar, sample = self.places[index]
        try:
            with tar.open("rb") as stream:
                stream.seek(sample.offset)
                content = stream.read(sample.size)
        except OSError as error:
            msg = f"Cannot read {self.name(index)}: {error.strerror}. Check the tar."
            raise InputError(msg) from error
        return decode_image(content, self.name(index))


@dataclass(frozen=True)
class TarPictures(_InTars):
    """Pictures in tars, each of one class.

    Attributes:
        targets: The class of each, an index into `labels`.
    """

    targets: tuple[int, ...]

    def target(self, index: int) -> int:
        """Return the class of one picture, in [0, len(labels))."""
        return self.targets[index]

    def subset(self, indices: Sequence[int]) -> TarPictures:
        """Return the pictures at `indices`, in that order, with the same labels."""
        return TarPictures(
            tuple(self.places[index] for index in indices),
            self.labels,
            tuple(self.targets[index] for index in indices),
        )


@dataclass(frozen=True)
class MultiLabelTarPictures(_InTars):
    """Pictures in tars, each with any number of labels, none too.

    Attributes:
        sets: The labels of each, ascending indices into `labels`.
    """

    sets: tuple[tuple[int, ...], ...]

    def present(self, index: int) -> tuple[int, ...]:
        """Return which labels are right of one picture, indices into `labels`, ascending."""
        return self.sets[index]

    def target(self, index: int) -> NoReturn:
        """Refuse: no picture has one class.

        Raises:
            DataError: Always.
        """
        raise no_single_class(self, index)

    def subset(self, indices: Sequence[int]) -> MultiLabelTarPictures:
        """Return the pictures at `indices`, in that order, with the same labels."""
        return MultiLabelTarPictures(
            tuple(self.places[index] for index in indices),
            self.labels,
            tuple(self.sets[index] for index in indices),
        )
