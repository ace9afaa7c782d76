"""Measurements that are kept, one a file, so that an interrupted table goes on where it was."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any

import torch

from snow_deploy.paper.study import digest
from snow_runtime import __version__
from snow_runtime.files import atomic_write
from snow_runtime.machine.cpu import cpu_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Measurement = dict[str, Any]
"""Plain JSON values by name."""


class MeasurementCache:
    """A folder of measurements, each under a hash of what it depends on."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made when the first measurement is kept."""
        self.folder = folder

    def find(self, kind: str, facts: Mapping[str, Any]) -> Measurement | None:
        """Return what was measured before under the same facts; None where nothing readable is."""
        try:
            document = json.loads(self._path(kind, facts).read_text(encoding="utf-8"))
            value: Measurement = document["value"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return value

    def get(
        self, kind: str, facts: Mapping[str, Any], measure: Callable[[], Measurement]
    ) -> Measurement:
        """Return what was measured before under the same facts, or measure now and keep it.

        Args:
            kind: The beginning of the file's name.
            facts: JSON values; everything that the measurement depends on.
            measure: Function that measures.
        """
        found = self.find(kind, facts)
        if found is not None:
            return found
        value = measure()
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self._path(kind, facts), "w") as file:
            json.dump({"facts": dict(facts), "value": value}, file, indent=1)
        return value

    def _path(self, kind: str, facts: Mapping[str, Any]) -> Path:
        return self.folder / f"{kind}-{digest(facts)}.json"


def default_device() -> torch.device:
    """Return the CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_device(device: torch.device) -> dict[str, Any]:
    """Return what a time depends on, as plain JSON values."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{cpu_model() or f'{platform.machine()} CPU'}, {torch.get_num_threads()} threads"
    return {"device": name, "torch": str(torch.__version__), "snow_deploy": __version__}
