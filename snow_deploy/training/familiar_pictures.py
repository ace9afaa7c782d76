"""What the pictures of tasks that were trained by steps look like, by a store's feature cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snow_deploy.data.hold_out import part_of
from snow_deploy.models.source import Source
from snow_deploy.training.feature_cache import FeatureCache
from snow_runtime.confidence.find import HeldOutAnswers
from snow_runtime.confidence.fit_familiarity import (
    FEWEST_PICTURES,
    MOST_PICTURES,
    KnownPictures,
    fit_familiarity,
)

if TYPE_CHECKING:
    from snow_deploy.data.pictures import Splits
    from snow_deploy.training.measure import Measured
    from snow_deploy.training.store import Store
    from snow_runtime.graph.familiarity_entry import FamiliarityEntry
    from snow_runtime.graph.manifest import Preprocessing


class FamiliarPictures:
    """Fits familiarities of the tasks of one run; the pictures' features are computed once."""

    def __init__(self, store: Store, preprocessing: Preprocessing, *, workers: int) -> None:
        self._store = store
        self._preprocessing = preprocessing
        self._workers = workers
        self._cache: FeatureCache | None = None

    def fit(self, splits: Splits, held_out: Measured) -> FamiliarityEntry | None:
        """Fit on training pictures, and find the bound on those that took no part in training.

        Args:
            splits: The task's pictures.
            held_out: What the task answered to those kept for that.

        Returns:
            None where there are too few of either.

        Raises:
            DataError, StoreError, TrainingError: As for `FeatureCache.features`.
        """
        train, tuning = splits.train, splits.tuning
        if tuning is None or min(len(train), len(tuning)) < FEWEST_PICTURES:
            return None
        cache = self._opened()
        places = np.linspace(0, len(train) - 1, min(len(train), MOST_PICTURES)).astype(int)
        trained = cache.features(part_of(train, places.tolist())).rows
        others = cache.features(tuning)
        row = {place: number for number, place in enumerate(others.places.tolist())}
        index = held_out.answers.index.tolist()
        both = [number for number, place in enumerate(index) if place in row]
        answers = HeldOutAnswers(held_out.logits[both], held_out.targets[both], "training")
        rows = others.rows[[row[index[number]] for number in both]]
        return fit_familiarity(
            KnownPictures(trained),
            cache.taps,
            KnownPictures(rows, answers.logits, answers.right),
            several=splits.answers == "several",
        )

    def _opened(self) -> FeatureCache:
        """Open the cache with a source of its own: the run's may be compiled as it is."""
        if self._cache is None:
            source = Source(self._store.source_weights())
            self._cache = FeatureCache(
                self._store, source, self._preprocessing, workers=self._workers
            )
        return self._cache
