"""Where an engine's files lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def record_path(engine: Path) -> Path:
    """Give the record's path: `snow.engine.json` beside `snow.engine`."""
    return engine.with_name(engine.name + ".json")
