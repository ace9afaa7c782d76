"""A number of bytes as people write it."""

from __future__ import annotations

import re
from typing import Any, Final

import click

_UNITS: Final = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}


class ByteSize(click.ParamType[int]):
    """A size, as in 500MB, 2GB or 1.5GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it; an error of usage says what is wrong."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([KMGT]I?)?B?", str(value).upper())
        size = 0 if found is None else round(float(found[1]) * _UNITS[found[2] or ""])
        if size < 1:
            self.fail(f"{value!r} is no size, as in 500MB, 2GB or 1.5GiB.", param, ctx)
        return size
