"""The linear classifiers of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.training.linear_probe import fit_probe, linear_probe_accuracy

if TYPE_CHECKING:
    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.source import Source
    from snow_deploy.training.linear_probe import Probe
    from snow_runtime.graph.manifest import Preprocessing


class Probes:
    """Linear classifiers on the source's features, one for each set of labels."""

    def __init__(
        self, source: Source, preprocessing: Preprocessing, seed: int, workers: int
    ) -> None:
        self._source = source
        self._preprocessing = preprocessing
        self._how = {"seed": seed, "workers": workers}
        self._fitted: dict[int, Probe] = {}
        self._accuracies: dict[int, float] = {}

    def fitted(self, splits: Splits) -> Probe:
        """Fit one to the training pictures, once."""
        if id(splits) not in self._fitted:
            self._fitted[id(splits)] = fit_probe(
                self._source, splits.train, len(splits.labels), self._preprocessing, **self._how
            )
        return self._fitted[id(splits)]

    def accuracy(self, splits: Splits) -> float:
        """Measure the best one on the final split, once."""
        if id(splits) not in self._accuracies:
            probe = self._fitted.get(id(splits))
            self._accuracies[id(splits)] = linear_probe_accuracy(
                self._source,
                splits,
                self._preprocessing,
                classifier=None if probe is None else probe.best,
                **self._how,
            )
        return self._accuracies[id(splits)]
