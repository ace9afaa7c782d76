"""The store: one source and the tasks trained on it, in a folder.

STORE/source.safetensors        the source
STORE/tasks/NAME.safetensors    one network
STORE/features/                 what readouts are fitted on, by picture; may be deleted
STORE/trial-*/                  only while `--scheme auto` tries a delta; may be deleted
STORE/runs/NAME/                a run's checkpoint, curve and selections; not needed afterwards
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from snow_deploy.errors import StoreError
from snow_deploy.models.weights import SourceWeights
from snow_deploy.training.own_task import OwnTask, is_first, record_of
from snow_deploy.training.store_file import damaged, read_stored, write_stored
from snow_deploy.training.task_lock import exclusive
from snow_deploy.training.task_record import TaskRecord
from snow_runtime.errors import ManifestError
from snow_runtime.graph.task_name import check_task_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.source import Source
    from snow_runtime.multilabel import Labelling
    from snow_runtime.pictures.preprocessing import Picture


class Store:
    """A folder with one source and any number of tasks."""

    def __init__(self, root: str | Path) -> None:
        """Name the folder; nothing is read or written yet."""
        self.root = Path(root)

    @property
    def source_path(self) -> Path:
        """Where the source lies."""
        return self.root / "source.safetensors"

    @property
    def features_path(self) -> Path:
        """Folder of what its source says of pictures; see `feature_cache`."""
        return self.root / "features"

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
        found = (self.root / "tasks").glob("*.safetensors")
        stems = (path.stem for path in found if path.is_file())
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
        write_stored(self.source_path, weights)

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
            raise StoreError(damaged(self.source_path, f"it holds the task {found.name!r}"))
        replace(found, origin=f"{found.origin}, in {self.source_path}").check_values()
        return found

    def save_task(self, record: TaskRecord) -> Path:
        """Write a task, replacing an earlier one of its name; return the file."""
        path = self.task_path(record.name)
        write_stored(path, record)
        return path

    def add(  # noqa: PLR0913 - what a network's weights do not say
        self,
        name: str,
        delta: nn.Module,
        *,
        labels: Sequence[str] | None = None,
        pictures: Sequence[str | Path | Picture] | None = None,
        splits: Splits | None = None,
        metrics: Mapping[str, float] | None = None,
        answers: Labelling | None = None,
        split_seed: int = 0,
        trained_by: str = "own loop",
        source: Source | None = None,
        overwrite: bool = False,
    ) -> TaskRecord:
        """Take a delta that a loop of one's own has trained; its source comes with the first one.

        Nothing is written before it is found that what the store would build from its weights
        answers as the delta does. Among several processes the first one writes.

        Args:
            name: The task's name.
            delta: The delta, on any device, in any mode and precision, or what
                DistributedDataParallel, torch.compile or AveragedModel made of it. It stays as it
                is; it is kept in float32.
            labels: What each logit stands for; None takes those of `splits`.
            pictures: A few held-out pictures, as paths, PIL images or uint8 arrays [H, W, 3], red
                first: later steps compare answers on five of them. None takes those of `splits`,
                and without those draws some.
            splits: Pictures and labels that it was trained and measured on, as `open_data` gives
                them: with them `calibrate` knows which pictures were held out. Where they have
                both, a temperature is fitted on those of `val`, of which at most 2,000 are read.
            metrics: Figures that were measured. `accuracy` (0 to 1) is that on the final pictures
                of `splits`, in evaluation mode: `calibrate` measures it again and refuses another.
            answers: `several` where any number of labels may be right of a picture; None is what
                `splits` says, else `one`.
            split_seed: Seed that the data was split with, where it has no splits of its own.
            trained_by: What trained it, for people.
            source: Source that it was built on, where it came from another process.
            overwrite: Whether to replace a task of the same name.

        Raises:
            TrainingError: It is no delta, its weights are not all finite or do not answer as it
                does, another process trains a task of this name, or the labels, metrics or
                pictures are none that it can have.
            StoreError: The store holds another source or has the task already, or cannot be
                written.
            SourceError: The source cannot read pictures of its size.
            InputError: A picture cannot be read.
            DataError: None of the pictures of `splits` can be read.
        """
        path = self.task_path(name)
        if path.is_file() and not overwrite:
            msg = (
                f"{self.root} has a task {name!r} already. Give another name, or overwrite=True to "
                "replace it."
            )
            raise StoreError(msg)
        task = OwnTask(labels, pictures, splits, metrics or {}, answers, split_seed, trained_by)
        record, built_on = record_of(name, delta, task, source)
        if is_first():
            with exclusive(self, [name]):
                self.put_source(built_on.weights)
                self.save_task(record)
        return record

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
            raise StoreError(damaged(path, "it holds a source"))
        if record.name != name:
            raise StoreError(damaged(path, f"it holds the task {record.name!r}"))
        return record


def _is_task_name(text: str) -> bool:
    """Tell a task's name from those that copying tools leave behind, such as `._food`."""
    try:
        check_task_name(text)
    except ManifestError:
        return False
    return True
