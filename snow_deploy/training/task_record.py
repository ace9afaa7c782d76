"""A trained task: its weights, and what there is to know of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from snow_deploy.errors import StoreError
from snow_deploy.models.schemes import build_network
from snow_deploy.models.schemes.lwf import LearningWithoutForgetting, older_task
from snow_deploy.models.weights import hash_tensors
from snow_runtime.graph.data_entry import DataEntry, SplitEntry
from snow_runtime.graph.manifest import Preprocessing, TaskEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snow_deploy.models.network import TaskNetwork
    from snow_deploy.models.source import Source
    from snow_deploy.training.options import TrainOptions
    from snow_runtime.graph.confidence_entry import ConfidenceEntry
    from snow_runtime.multilabel import Labelling


@dataclass(frozen=True)
class TaskRecord:
    """One trained task.

    Attributes:
        name: The task's name.
        labels: What each logit stands for.
        state: The network's own parameters and buffers.
        source_sha256: The fingerprint of the source that it was trained on.
        preprocessing: How a picture becomes the networks' input.
        options: How it was trained; the scheme and the delta's shape are among them.
        samples: [M, S, S, 3] uint8, a few held-out pictures, resized and cropped: what every
            later step compares its answers on.
        metrics: Figures of the final measurement, such as `accuracy` (0 to 1).
        previous_tasks: Labels of the tasks learned before into the same network, by name, in
            order; only learning without forgetting has any.
        data_sha256: The fingerprint of the data's splits; empty where it was not noted.
        splits: The fingerprint of each split by itself; empty where it was not noted.
        answers: `several` where any number of labels may be right, a sigmoid each; else `one`.
        trained_by: What trained it, where that was not snow-deploy, for people; of the options
            only the scheme, the delta's shape and the image size are then known. Empty else.
        confidence: How far its answers can be trusted; None where that was not found out.
    """

    name: str
    labels: tuple[str, ...]
    state: Mapping[str, Tensor]
    source_sha256: str
    preprocessing: Preprocessing
    options: TrainOptions
    samples: Tensor
    metrics: Mapping[str, float] = field(default_factory=dict)
    previous_tasks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    data_sha256: str = ""
    splits: Mapping[str, SplitEntry] = field(default_factory=dict)
    answers: Labelling = "one"
    trained_by: str = ""
    confidence: ConfidenceEntry | None = None

    def fingerprint(self) -> str:
        """Return the SHA-256 (hex) of the delta's tensors."""
        return hash_tensors(self.state)

    def known_options(self) -> dict[str, Any]:
        """Return what is known of how it was trained, as plain JSON values."""
        values = self.options.to_dict()
        if not self.trained_by:
            return values
        known = {key: values[key] for key in ("scheme", "delta", "image_size")}
        return {"trained_by": self.trained_by, **known}

    def entry(
        self,
        selections: Mapping[str, tuple[int, ...]],
        tap_selections: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    ) -> TaskEntry:
        """Describe the task as a graph's manifest does.

        Args:
            selections: The chosen channels by subscription; empty where nothing is pooled.
            tap_selections: Those that a delta's classifier reads, by tap.
        """
        scheme, delta = self.options.scheme, self.options.delta
        divides = scheme == "snow" and delta.subscription in {"pooling", "conv1x1"}
        return TaskEntry(
            name=self.name,
            output=self.name,
            labels=self.labels,
            sha256=self.fingerprint(),
            k_divisor=delta.k_divisor if divides else None,
            width_divisor=delta.width_divisor if scheme in {"snow", "fe"} else None,
            selections=dict(selections),
            metrics=dict(self.metrics),
            scheme=scheme,
            data=DataEntry(self.data_sha256, self.options.seed, dict(self.splits))
            if self.data_sha256
            else None,
            answers=self.answers,
            blocks=delta.blocks if scheme == "snow" else None,
            from_stage=delta.from_stage if scheme == "snow" else None,
            tap_selections=dict(tap_selections),
            confidence=self.confidence,
        )

    def entry_of(self, network: TaskNetwork) -> TaskEntry:
        """Describe the task, with what its network has chosen."""
        return self.entry(network.selections(), network.tap_selections())

    def build(self, source: Source) -> TaskNetwork:
        """Build the task's network, in eval mode, with these weights.

        Raises:
            StoreError: It was trained on another source.
        """
        if source.fingerprint != self.source_sha256:
            msg = (
                f"task {self.name!r} was trained on the source {self.source_sha256[:12]}, but this "
                f"source is {source.fingerprint[:12]} ({source.architecture}). Its selections "
                "mean nothing here: train the task on this source, or use the store it is from."
            )
            raise StoreError(msg)
        delta = build_network(
            source,
            len(self.labels),
            self.options,
            [len(known) for known in self.previous_tasks.values()],
            len(self.state["index"]) if self.options.scheme == "readout" else None,
        )
        try:
            delta.load_state_dict(dict(self.state))
        except RuntimeError as error:
            msg = f"the weights of task {self.name!r} do not fit its options: {error}"
            raise StoreError(msg) from error
        return delta.eval()

    def build_older(self, source: Source, name: str) -> TaskNetwork:
        """Build, in eval mode, what answers an older task with the network as it is now.

        Raises:
            StoreError: No such task was learned into it, or as for `build`.
        """
        network = self.build(source)
        if name not in self.previous_tasks or not isinstance(network, LearningWithoutForgetting):
            known = ", ".join(self.previous_tasks) or "none"
            msg = (
                f"the network of task {self.name!r} has not learned a task {name!r} before (it has "
                f"learned: {known}); name one of those"
            )
            raise StoreError(msg)
        return older_task(network, source, list(self.previous_tasks).index(name)).eval()
