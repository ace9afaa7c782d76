"""The option `--image-size`: a side in pixels, or a height and a width."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from snow_runtime.graph.image_size import ImageSize

LEAST: Final = 32
"""Pixels a side that sources are asked to read."""


class ImageSizeParam(click.ParamType[Any]):
    """`224`, or `180x320`, height first."""

    name = "size"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """Say how it is written."""
        return "SIDE|HEIGHTxWIDTH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> ImageSize:
        """Read it; an error of usage says what is wrong."""
        from snow_runtime.graph.image_size import LARGEST_SIZE, size_of

        if not isinstance(value, str):
            found: ImageSize = value
            return found
        written = re.fullmatch(r"(\d{1,9})(?:[xX×](\d{1,9}))?", value.strip())
        if written is None:
            self.fail(
                f"{value!r} is no size. Give a side in pixels, such as 224, or height x width, "
                "such as 180x320.",
                param,
                ctx,
            )
        height = int(written[1])
        width = int(written[2] or written[1])
        if not all(LEAST <= side <= LARGEST_SIZE for side in (height, width)):
            self.fail(
                f"{value!r} is out of range: expected {LEAST} to {LARGEST_SIZE} pixels a side.",
                param,
                ctx,
            )
        return size_of(height, width)
