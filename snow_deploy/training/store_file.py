"""Files of a store: tensors, and the facts about them in the file's metadata.

Of a source those are its architecture, normalisation and labels, of a task labels, options,
metrics and the source's hash. Every file is complete or absent: written beside its name, then
renamed. Each carries a SHA-256 of its tensors and facts, so that a damaged one is refused.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from snow_deploy.errors import StoreError
from snow_deploy.models.weights import SourceWeights, hash_tensors
from snow_deploy.training.options import TrainOptions
from snow_deploy.training.task_record import TaskRecord
from snow_runtime.errors import SnowError
from snow_runtime.files import atomic_write, writing
from snow_runtime.graph import field_checks
from snow_runtime.graph.confidence_entry import ConfidenceEntry
from snow_runtime.graph.data_entry import SplitEntry
from snow_runtime.graph.image_size import any_size
from snow_runtime.graph.manifest import Preprocessing
from snow_runtime.multilabel import Labelling

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_FORMAT = 1
_KEY = "snow_deploy"
_HASH = "sha256"
_SAMPLES = "samples"


def write_stored(path: Path, stored: SourceWeights | TaskRecord) -> None:
    """Write a file of a store, replacing the one that is there.

    Raises:
        StoreError: It cannot be written; nothing was changed.
    """
    state, facts = dict(stored.state), {"format": _FORMAT}
    if isinstance(stored, TaskRecord):
        state[_SAMPLES] = stored.samples
        facts |= _task_facts(stored)
    else:
        facts |= _source_facts(stored)
    content = save(
        {key: value.contiguous() for key, value in state.items()},
        metadata={_KEY: _text({**facts, _HASH: hash_tensors(state, _text(facts))})},
    )
    with writing(path, StoreError, "Nothing was changed; free space or access."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(content)


def read_stored(path: Path) -> SourceWeights | TaskRecord:
    """Read one file of a store, wherever it lies.

    Raises:
        StoreError: It cannot be read, is damaged, or neither a source nor a task of snow-deploy's.
    """
    state, facts = _read(path)
    try:
        return _task(state, facts) if _SAMPLES in state else _source(state, facts)
    except (TypeError, KeyError, AttributeError, ValueError, SnowError) as error:
        raise StoreError(damaged(path, str(error))) from error


def _source_facts(weights: SourceWeights) -> dict[str, Any]:
    keys = ("architecture", "stride_in_1x1", "mean", "std", "labels", "origin")
    facts = {key: getattr(weights, key) for key in keys}
    if weights.graph is not None:  # readers from before there were any refuse what they do not know
        more = ("graph", "image_size", "crop_share", "interpolation", "code_sha256")
        facts |= {key: getattr(weights, key) for key in more}
    return facts


def _source(state: dict[str, Tensor], facts: dict[str, Any]) -> SourceWeights:
    labels = facts.pop("labels")
    return SourceWeights(
        state=state,
        labels=None if labels is None else tuple(labels),
        mean=tuple(facts.pop("mean")),
        std=tuple(facts.pop("std")),
        image_size=any_size("image_size", facts.pop("image_size", 224)),
        **facts,
    )


def _task_facts(record: TaskRecord) -> dict[str, Any]:
    further: dict[str, Any] = {}  # readers from before there were any refuse what they do not know
    if record.trained_by:
        further["trained_by"] = record.trained_by
    if record.confidence is not None:
        further["confidence"] = asdict(record.confidence)
    return {
        "name": record.name,
        "labels": record.labels,
        "source": record.source_sha256,
        "preprocessing": _preprocessing_facts(record.preprocessing),
        "options": record.options.to_dict(),
        "metrics": dict(record.metrics),
        "older": [[name, *labels] for name, labels in record.previous_tasks.items()],
        "pictures": record.data_sha256,
        "splits": {name: vars(entry) for name, entry in record.splits.items()},
        "answers": record.answers,
        **further,
    }


def _preprocessing_facts(preprocessing: Preprocessing) -> dict[str, Any]:
    """Leave the usual interpolation out, as readers from before there were others want it."""
    facts = dict(vars(preprocessing))
    if preprocessing.interpolation == "bilinear":
        del facts["interpolation"]
    return facts


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
        answers=field_checks.choice("answers", facts.get("answers", "one"), get_args(Labelling)),
        trained_by=str(facts.get("trained_by", "")),
        confidence=ConfidenceEntry.read("confidence", facts["confidence"])
        if "confidence" in facts
        else None,
    )


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with path.open("rb"):  # of a file that may not be read, safetensors says that there is none
            pass
    except OSError as error:
        msg = f"{path} cannot be read: {error}. Allow this user to read it, or copy it again."
        raise StoreError(msg) from error
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        facts = json.loads(metadata[_KEY])
        intact = facts.pop(_HASH) == hash_tensors(state, _text(facts))
        version = facts.pop("format")
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise StoreError(damaged(path, str(error))) from error
    if not intact:
        raise StoreError(damaged(path, "its content does not match its hash"))
    if version != _FORMAT:
        msg = f"{path} has format {version}; this version reads {_FORMAT}. Update snow-deploy."
        raise StoreError(msg)
    return state, facts


def _text(facts: dict[str, Any]) -> str:
    """Write facts as JSON; equal ones give the same text."""
    return json.dumps(facts, sort_keys=True)


def damaged(path: Path, why: str) -> str:
    """Say that a file is not what it should be."""
    return f"{path} is damaged or not one of snow-deploy's ({why}). Copy it again or train again."
