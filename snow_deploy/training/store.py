"""The store: one source and the tasks trained on it, in a folder.

STORE/source.safetensors        the source's tensors; its facts in the file's metadata
STORE/tasks/NAME.safetensors    one network; labels, options, metrics, source hash in the metadata
STORE/runs/NAME/                a run's checkpoint, curve and selections; not needed afterwards

Every file is complete or absent: written beside its name, then renamed. Each carries a SHA-256
of its tensors and facts, so that a damaged one is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from snow_deploy.errors import StoreError
from snow_deploy.models.schemes import build_network
from snow_deploy.models.schemes.lwf import LearningWithoutForgetting, older_task
from snow_deploy.models.weights import SourceWeights, hash_tensors
from snow_deploy.training.options import TrainOptions
from snow_runtime.errors import ManifestError, SnowError
from snow_runtime.files import atomic_write
from snow_runtime.graph.data_entry import DataEntry, SplitEntry
from snow_runtime.graph.manifest import Preprocessing, TaskEntry
from snow_runtime.graph.task_name import check_task_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snow_deploy.models.network import TaskNetwork
    from snow_deploy.models.source import Source

_FORMAT = 1
_KEY = "snow_deploy"
_HASH = "sha256"
_SAMPLES = "samples"


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

    def fingerprint(self) -> str:
        """Return the SHA-256 (hex) of the delta's tensors."""
        return hash_tensors(self.state)

    def entry(self, selections: Mapping[str, tuple[int, ...]]) -> TaskEntry:
        """Describe the task as a graph's manifest does.

        Args:
            selections: The chosen channels by subscription; empty where nothing is pooled.
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
            data=self._data(),
        )

    def _data(self) -> DataEntry | None:
        if not self.data_sha256:
            return None
        return DataEntry(self.data_sha256, self.options.seed, dict(self.splits))

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


class Store:
    """A folder with one source and any number of tasks."""

    def __init__(self, root: str | Path) -> None:
        """Name the folder; nothing is read or written yet."""
        self.root = Path(root)

    @property
    def source_path(self) -> Path:
        """Where the source lies."""
        return self.root / "source.safetensors"

    def task_path(self, name: str) -> Path:
        """Return where a task lies."""
        return self.root / "tasks" / f"{check_task_name(name)}.safetensors"

    def run_path(self, name: str) -> Path:
        """Return the folder of a task's training run."""
        return self.root / "runs" / check_task_name(name)

    def has_source(self) -> bool:
        """Tell whether the store holds a source yet."""
        return self.source_path.is_file()

    def tasks(self) -> tuple[str, ...]:
        """Return the names of the trained tasks, in alphabetical order."""
        stems = (path.stem for path in (self.root / "tasks").glob("*.safetensors"))
        return tuple(sorted(stem for stem in stems if _is_task_name(stem)))

    def put_source(self, weights: SourceWeights) -> None:
        """Write the source, or make sure that the one already here is the same.

        Raises:
            StoreError: The store holds another source.
        """
        fingerprint = weights.fingerprint()
        if self.has_source():
            kept = self.source_weights()
            if kept.fingerprint() != fingerprint:
                msg = (
                    f"{self.root} holds the source {kept.architecture} "
                    f"({kept.fingerprint()[:12]}, {kept.origin}), not {weights.architecture} "
                    f"({fingerprint[:12]}, {weights.origin}). One store serves one source: leave "
                    "--weights out to use the one that is here, or choose another --store."
                )
                if not self.tasks():
                    msg += (
                        f" No task needs the one that is here: {self.source_path} may be deleted."
                    )
                raise StoreError(msg)
            if weights.labels in {None, kept.labels}:
                return
            weights = replace(kept, labels=weights.labels)  # other names, the same function
        facts = {
            "architecture": weights.architecture,
            "stride_in_1x1": weights.stride_in_1x1,
            "mean": weights.mean,
            "std": weights.std,
            "labels": weights.labels,
            "origin": weights.origin,
        }
        self._write(self.source_path, weights.state, facts)

    def source_weights(self) -> SourceWeights:
        """Read the source.

        Raises:
            StoreError: There is none, or it is damaged.
            SourceError: Its values are not those of a trained network.
        """
        if not self.has_source():
            msg = (
                f"{self.root} holds no source. Train a task into it first "
                f"(`snow-deploy train --store {self.root} …`), or name another --store."
            )
            raise StoreError(msg)
        found = read_stored(self.source_path)
        if not isinstance(found, SourceWeights):
            raise StoreError(_damaged(self.source_path, f"it holds the task {found.name!r}"))
        replace(found, origin=f"{found.origin}, in {self.source_path}").check_values()
        return found

    def save_task(self, record: TaskRecord) -> Path:
        """Write a task, replacing an earlier one of its name; return the file."""
        facts = {
            "name": record.name,
            "labels": record.labels,
            "source": record.source_sha256,
            "preprocessing": vars(record.preprocessing),
            "options": record.options.to_dict(),
            "metrics": dict(record.metrics),
            "older": [[name, *labels] for name, labels in record.previous_tasks.items()],
            "pictures": record.data_sha256,
            "splits": {name: vars(entry) for name, entry in record.splits.items()},
        }
        path = self.task_path(record.name)
        self._write(path, {**record.state, _SAMPLES: record.samples}, facts)
        return path

    def load_task(self, name: str) -> TaskRecord:
        """Read a task.

        Raises:
            StoreError: There is no such task, or its file is damaged.
        """
        path = self.task_path(name)
        if not path.is_file():
            known = ", ".join(self.tasks()) or "none"
            msg = (
                f"{self.root} has no task {name!r} (it has: {known}). Train it with "
                f"`snow-deploy train --task {name} --store {self.root} …`, or correct the name."
            )
            raise StoreError(msg)
        record = read_stored(path)
        if not isinstance(record, TaskRecord):
            raise StoreError(_damaged(path, "it holds a source"))
        if record.name != name:
            raise StoreError(_damaged(path, f"it holds the task {record.name!r}"))
        return record

    def _write(self, path: Path, state: Mapping[str, Tensor], facts: dict[str, Any]) -> None:
        facts = {"format": _FORMAT, **facts}
        content = save(
            {key: value.contiguous() for key, value in state.items()},
            metadata={_KEY: _text({**facts, _HASH: hash_tensors(state, _text(facts))})},
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.write(content)
        except OSError as error:
            msg = f"{path} cannot be written: {error}. Nothing was changed; free space or access."
            raise StoreError(msg) from error


def read_stored(path: Path) -> SourceWeights | TaskRecord:
    """Read one file of a store, wherever it lies.

    Raises:
        StoreError: It is damaged, or neither a source nor a task of snow-deploy's.
    """
    state, facts = _read(path)
    try:
        return _task(state, facts) if _SAMPLES in state else _source(state, facts)
    except (TypeError, KeyError, AttributeError, ValueError, SnowError) as error:
        raise StoreError(_damaged(path, str(error))) from error


def _source(state: dict[str, Tensor], facts: dict[str, Any]) -> SourceWeights:
    labels = facts.pop("labels")
    return SourceWeights(
        state=state,
        labels=None if labels is None else tuple(labels),
        mean=tuple(facts.pop("mean")),
        std=tuple(facts.pop("std")),
        **facts,
    )


def _task(state: dict[str, Tensor], facts: dict[str, Any]) -> TaskRecord:
    samples = state.pop(_SAMPLES)
    return TaskRecord(
        name=facts["name"],
        labels=tuple(facts["labels"]),
        state=state,
        source_sha256=facts["source"],
        preprocessing=Preprocessing(**facts["preprocessing"]),
        options=TrainOptions.from_dict(facts["options"]),
        samples=samples,
        metrics=facts["metrics"],
        previous_tasks={name: tuple(labels) for name, *labels in facts.get("older", [])},
        data_sha256=facts.get("pictures", ""),
        splits={name: SplitEntry(**entry) for name, entry in facts.get("splits", {}).items()},
    )


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        facts = json.loads(metadata[_KEY])
        intact = facts.pop(_HASH) == hash_tensors(state, _text(facts))
        version = facts.pop("format")
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise StoreError(_damaged(path, str(error))) from error
    if not intact:
        raise StoreError(_damaged(path, "its content does not match its hash"))
    if version != _FORMAT:
        msg = f"{path} has format {version}; this version reads {_FORMAT}. Update snow-deploy."
        raise StoreError(msg)
    return state, facts


def _text(facts: dict[str, Any]) -> str:
    """Write facts as JSON; equal ones give the same text."""
    return json.dumps(facts, sort_keys=True)


def _is_task_name(text: str) -> bool:
    """Tell a task's name from those that copying tools leave behind, such as `._food`."""
    try:
        check_task_name(text)
    except ManifestError:
        return False
    return True


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged or not one of snow-deploy's ({why}). Copy it again or train again."
