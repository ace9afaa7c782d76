"""Masks of a configuration file: regions of cameras' pictures that are never stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.cli.config_lines import line_of
from snow_deploy.cli.config_read import Fault
from snow_runtime.collection.masks import checked_region
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.cli.config_read import Reading
    from snow_deploy.cli.config_tables import MaskTable
    from snow_runtime.collection.masks import Point

    Masks = Mapping[str, tuple[tuple[Point, ...], ...]]


def read_masks(reading: Reading) -> tuple[Masks, list[Fault]]:
    """Return the regions of each camera, and what is wrong with them."""
    found: dict[str, tuple[tuple[Point, ...], ...]] = {}
    faults: list[Fault] = []
    for camera, table in (reading.config.cameras or {}).items():
        regions = []
        masks = None if table is None else table.masks
        for name, mask in (masks or {}).items():
            where = "cameras", camera, "masks", name
            if mask is None or any(each.where[: len(where)] == where for each in reading.faults):
                continue  # it was said already
            try:
                regions.append(_region(mask))
            except InputError as error:
                faults.append(Fault(where, str(error), line_of(reading.lines, where)))
        if regions:
            found[camera] = tuple(regions)
    return found, faults


def _region(mask: MaskTable) -> tuple[Point, ...]:
    """Return the corners of a mask.

    Raises:
        InputError: There are none, or they are wrong.
    """
    if (mask.box is None) == (mask.polygon is None):
        msg = "expected a box or a polygon, and not both"
        raise InputError(msg)
    if mask.polygon is not None:
        return checked_region(mask.polygon)
    box = mask.box or ()
    if len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
        msg = f"the box {list(box)}, expected left, top, right, bottom, the latter two beyond"
        raise InputError(msg)
    left, top, right, bottom = box
    return checked_region([(left, top), (right, top), (right, bottom), (left, bottom)])
