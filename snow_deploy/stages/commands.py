"""What the commands `train` and `export` do, as functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from snow_deploy.data import open_data
from snow_deploy.errors import StoreError, TrainingError
from snow_deploy.stages.export import export_tasks
from snow_deploy.training.any_scheme import train_any
from snow_deploy.training.bring_source import (
    SourceChoice,
    bring_source,
    bring_weights,
    image_size_of,
)
from snow_deploy.training.options import TrainOptions
from snow_deploy.training.run import RunSettings
from snow_deploy.training.store import Store
from snow_deploy.training.task_requests import TaskRequest, check_together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.source import Source
    from snow_deploy.training.outcome import TrainingOutcome
    from snow_export.export import GraphOptions
    from snow_export.parity import TaskParity
    from snow_runtime.graph.image_size import ImageSize


def train(
    store: Store | str | Path,
    tasks: Mapping[str, str | Splits],
    options: TrainOptions | None = None,
    *,
    source: Source | SourceChoice | str | None = None,
    settings: RunSettings | None = None,
    say: Callable[[str], None] | None = None,
) -> TrainingOutcome:
    """Train tasks and put them into a store, as `snow-deploy train` does.

    Several tasks learn from one pass of the source a batch, and so from the same pictures.

    Args:
        store: The store, or its folder.
        tasks: Data of each task by its name: as `open_data` reads or gives it.
        options: How each is trained; None is the paper's recipe, pictures of the side that the
            source is made for, and nothing held out (the command holds out a tenth of the training
            pictures for the temperature: `TrainOptions(hold_out=0.1)`).
        source: The source: one at hand, a choice, or what `--source` takes. None takes the
            store's, or ResNet-50 with ImageNet's weights.
        settings: How the run is carried out.
        say: Callback that gets, a line at a time, what was assumed of the source and the data.

    Returns:
        The tasks as stored; one whose loss stopped being finite is named among the failures.

    Raises:
        SnowError: As for `open_data`, `bring_source` and `train_tasks`.
    """
    if not tasks or not hasattr(tasks, "items"):
        msg = "there is no task to train, expected data by name, such as {'food': 'imagefolder:x'}."
        raise TrainingError(msg)
    store = _store(store)
    for name in tasks:
        store.task_path(name)  # refuses a name that cannot be a task's, before data is read
    choice = SourceChoice(source) if isinstance(source, str) else source
    if options is None:
        options = TrainOptions(image_size=_image_size(store, choice))
    requests = [
        TaskRequest(name, _opened(data, options.seed), options) for name, data in tasks.items()
    ]
    check_together(requests)
    if say is not None:
        for remark in dict.fromkeys(each for task in requests for each in task.splits.remarks):
            say(remark)
    planned = [(options, len(each.splits.labels)) for each in requests]
    if choice is None or isinstance(choice, SourceChoice):
        bring_source(store, choice or SourceChoice(), planned, say)
    else:
        bring_weights(store, choice.weights, planned)
    return train_any(store, requests, settings or RunSettings())


def export(
    store: Store | str | Path,
    tasks: Sequence[str] | None = None,
    path: str | Path = "snow.onnx",
    *,
    options: GraphOptions | None = None,
    with_source: bool = False,
    with_features: bool = False,
) -> list[TaskParity]:
    """Export tasks of a store as one ONNX graph, as `snow-deploy export` does.

    Args:
        store: The store, or its folder.
        tasks: Which tasks, in the order of the outputs; None takes all, by name.
        path: The ONNX file.
        options: The form of the graph; None is fused, fp32, float input, any batch.
        with_source: Whether to answer with the source's own head too.
        with_features: Whether to give out the source's pooled features, for readouts to come.

    Returns:
        How close each task's answers are to torch's.

    Raises:
        StoreError: A task is missing, named twice, or of another source or image size; or the tasks
            are no list.
        ExportError: The graph cannot be made, written, or answers otherwise than torch.
    """
    if isinstance(tasks, str):
        msg = f"tasks is the text {tasks!r}, expected a list of names: [{tasks!r}]."
        raise StoreError(msg)
    return export_tasks(
        _store(store),
        tasks,
        Path(path),
        with_source=with_source,
        with_features=with_features,
        options=options,
    )


def _store(store: Store | str | Path) -> Store:
    return store if isinstance(store, Store) else Store(store)


def _opened(data: str | Splits, seed: int) -> Splits:
    return open_data(data, seed=seed) if isinstance(data, str) else data


def _image_size(store: Store, source: Source | SourceChoice | None) -> ImageSize:
    if source is None or isinstance(source, SourceChoice):
        return image_size_of(store, source or SourceChoice())
    return source.weights.image_size
