"""Importing what fits readouts; evaluating one needs none of it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from types import ModuleType


def import_learn(module: str) -> ModuleType:
    """Import a module that the extra `learn` brings, such as `scipy.optimize`.

    Raises:
        MissingDependencyError: It is not installed, or cannot be loaded here.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        msg = (
            f"{name} fits readouts and cannot be imported: {error}. Install it: "
            f"{pip_install('learn')}."
        )
        raise MissingDependencyError(msg) from error
