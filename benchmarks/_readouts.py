"""Readouts for the serving benchmark: on a fleet's source, and a fit of made-up features."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks._chosen_features import CHOSEN, draw_features
from snow_deploy.models.schemes.readout import Readout
from snow_runtime.errors import MissingDependencyError
from snow_runtime.readout.fit import fit_readout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from snow_deploy.models.source import Source


@dataclass(frozen=True)
class FitScenario:
    """What is fitted.

    Attributes:
        pictures: M.
        features: F.
        classes: C.
        informative: How many features differ between the classes.
    """

    pictures: int = 3400
    features: int = 15104
    classes: int = 10
    informative: int = 400


def readouts(source: Source, tasks: Mapping[str, int], seed: int) -> dict[str, nn.Module]:
    """Build readouts of random features with random weights, in eval mode.

    The source returns its taps' means from now on.

    Args:
        source: The source.
        tasks: How many classes each task has.
        seed: Of the features and weights.
    """
    torch.manual_seed(seed)
    found: dict[str, nn.Module] = {}
    for name, classes in tasks.items():
        whole = Readout(source, classes)
        readout = Readout(source, classes, min(CHOSEN, len(whole.index)))
        readout.index.copy_(draw_features(readout.feature_widths))
        torch.nn.init.normal_(readout.classifier.weight, std=0.05)
        found[name] = readout.eval()
    return found


def time_fit(scenario: FitScenario) -> float | None:
    """Return the seconds that a new task takes from features in memory; None without scipy.

    The features are half precision, not negative, and some of them shifted by class.
    """
    random = np.random.default_rng(0)
    targets = np.arange(scenario.pictures) % scenario.classes
    features = np.abs(random.normal(size=(scenario.pictures, scenario.features)))
    chosen = random.permutation(scenario.features)[: scenario.informative]
    shifts = random.normal(scale=0.2, size=(scenario.classes, len(chosen)))
    features[:, chosen] = np.abs(features[:, chosen] + shifts[targets])
    halves = features.astype(np.float16)
    del features
    labels = [f"class {number}" for number in range(scenario.classes)]
    started = time.perf_counter()
    try:
        fit_readout(halves, targets, labels)
    except MissingDependencyError as error:
        print(f"no fit: {error}")
        return None
    return time.perf_counter() - started
