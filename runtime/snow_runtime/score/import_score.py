"""Importing what bulk scoring needs beyond a model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from types import ModuleType

_EXTRAS: Final = {"ray": "scale"}


def import_score(module: str) -> Any:
    """Import a module that the extra `score` or `scale` brings, such as `pyarrow.parquet`.

    Raises:
        MissingDependencyError: It is not installed, or cannot be loaded here.
    """
    name = module.partition(".")[0]
    try:
        found: ModuleType = importlib.import_module(module)
    except ImportError as error:
        extra = _EXTRAS.get(name, "score")
        msg = (
            f"{name} is needed for this and cannot be imported: {error}. Install it: "
            f"{pip_install(extra)}."
        )
        raise MissingDependencyError(msg) from error
    return found
