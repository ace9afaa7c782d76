"""What a readout's file holds; no torch is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_export.inspect.inspection import Inspection, OwnerShare
from snow_runtime.files import sha256_file
from snow_runtime.readout.file import ReadoutFile

if TYPE_CHECKING:
    from pathlib import Path


def inspect_readout(path: Path) -> Inspection:
    """Tell what a readout of `snow-deploy fit` holds.

    Raises:
        ReadoutError: It is missing, damaged or of another kind.
    """
    readout = ReadoutFile.read(path)
    facts = readout.facts
    size = readout.weight.size + readout.bias.size
    share = OwnerShare(readout.name, size, readout.weight.size, facts.preprocessing.image_size)
    return Inspection(
        kind="readout",
        path=str(path),
        size_bytes=path.stat().st_size,
        sha256=sha256_file(path),
        source=facts.source,
        tasks=(facts.task,),
        preprocessing={readout.name: facts.preprocessing},
        shares=(share,),
        fit=facts.fit,
        versions=dict(facts.versions),
    )
