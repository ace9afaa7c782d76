"""What a network that learns one task after the other still knows of the earlier ones."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from snow_deploy.models.source import Source
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.training.measure import measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_deploy.models.network import TaskNetwork
    from snow_deploy.paper.study import Run, Study


class _Answering(nn.Module):
    """A network that reads no features, as a function of the images alone."""

    def __init__(self, network: TaskNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.network(images, {})
        return answer


def remembered(
    study: Study,
    chain: Sequence[Run],
    metrics: Mapping[str, Mapping[str, float]],
    kept: MeasurementCache,
) -> list[dict[str, Mapping[str, float]]]:
    """Return, after each data set that `lf` has learned, what it reaches on those so far.

    Args:
        study: Its store holds the runs.
        chain: The runs of `study.chain`.
        metrics: Metrics of these runs, by name.
        kept: What is measured already.

    Returns:
        One row a data set learned: by name of the data `accuracy` and, where it was measured,
        `accuracy_top5`; the newest one's are the run's own.
    """
    device = describe_device(default_device())
    rows = []
    for place, run in enumerate(chain):
        row: dict[str, Mapping[str, float]] = {}
        for older in chain[:place]:
            study.say(f"accuracy on {older.data} after {run.data}, seed {run.options.seed}")
            facts = {
                "run": study.store.load_task(run.name).fingerprint(),
                "pictures": study.store.load_task(older.name).data_sha256,
                "older": older.name,
                **device,
            }
            row[older.data] = kept.get("older", facts, partial(_older, study, run, older))
        row[run.data] = metrics[run.name]
        rows.append(row)
    return rows


def _older(study: Study, run: Run, older: Run) -> dict[str, float]:
    """Measure the network of a run on a data set that it learned before."""
    record = study.store.load_task(run.name)
    network = record.build_older(Source(study.store.source_weights()), older.name)
    splits = study.splits(older.data)
    answering = _Answering(network).to(default_device())
    found, _ = measure(answering, splits.final[1], record.preprocessing, workers=study.workers)
    return found.answers.metrics()
