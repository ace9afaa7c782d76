"""A graph or an engine, as a Triton repository takes it in.

Axes: B pictures of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snow_runtime.engine.files import read_plan, read_record
from snow_runtime.engine.paths import record_path
from snow_runtime.errors import EngineError, GraphError, InputError
from snow_runtime.model import is_engine

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.graph.manifest import Manifest
    from snow_runtime.triton.options import Form, TritonOptions

_USUAL_BATCH: Final = 8  # where neither the graph nor the user sets a limit
GRAPH_NAME: Final = "model.onnx"
PLAN_NAME: Final = "model.plan"
ENGINE_NAME: Final = "model.engine"


@dataclass(frozen=True)
class ServedModel:
    """A graph or an engine, and how Triton is to serve it.

    Attributes:
        manifest: What it is.
        form: Triton's backend.
        files: What a version's folder holds: the file to copy, by its name there.
        max_batch: The most pictures that Triton may put together; 0 where every call has to bring
            `fixed_batch` of them.
        fixed_batch: How many pictures a call of such a model has; None for one that batches.
        on_gpu: Whether it computes on a GPU only.
        dla: Core of the deep learning accelerator that an engine runs on; None for none.
    """

    manifest: Manifest
    form: Form
    files: dict[str, Path]
    max_batch: int
    fixed_batch: int | None
    on_gpu: bool = False
    dla: int | None = None


def open_served(path: Path, options: TritonOptions, usual_batch: int | None = None) -> ServedModel:
    """Read a graph, or an engine and its record, and find how Triton can serve it.

    Args:
        path: The file.
        options: What was asked for.
        usual_batch: Limit of pictures that the model's versions have, taken where it can be and
            none was asked for; None for a new model.

    Raises:
        GraphError: The graph is missing, damaged, without a manifest, or not for this form.
        EngineError: The engine or its record is missing or damaged, or not for this form.
        InputError: An option contradicts the file.
    """
    read = _engine if is_engine(path) else _graph
    served = read(path, options, usual_batch)
    unfit = {"--cpu": options.device == "cpu", "--threads": options.threads is not None}
    if served.on_gpu and any(unfit.values()):
        option = next(option for option, given in unfit.items() if given)
        msg = f"{option} contradicts {path}, an engine, which computes on a GPU. Leave it out."
        raise InputError(msg)
    return served


def _graph(path: Path, options: TritonOptions, usual_batch: int | None) -> ServedModel:
    from snow_runtime.graph.onnx_file import read_graph

    form = options.form or "onnxruntime"
    if form == "tensorrt":
        msg = (
            f"{path} is a graph, and --form tensorrt serves an engine. Build one with "
            "'snow-deploy build-engine', or leave --form out."
        )
        raise GraphError(msg)
    graph = read_graph(path)
    manifest = graph.manifest
    if manifest is None:
        msg = (
            f"{path} carries no manifest, so nobody knows its labels and preprocessing. Expected a "
            "graph that was made by 'snow-deploy export': export it with that command."
        )
        raise GraphError(msg)
    quantised = manifest.quantisation
    if form == "onnxruntime" and quantised is not None and quantised.rest == "fp16":
        msg = (
            f"{path} is INT8 with the rest in fp16, which Triton's onnxruntime backend would "
            "answer wrongly: one of its optimisations has to be off, and it has no switch for it. "
            "Give --form python, or calibrate the fp32 graph with --rest fp32."
        )
        raise GraphError(msg)
    files = {GRAPH_NAME: path}
    folder = path.parent.resolve()
    for beside in graph.files[1:]:  # weights, which the graph names by these paths
        files[beside.relative_to(folder).as_posix()] = beside
    if len(files) < len(graph.files) or "model.py" in files:
        msg = (
            f"{path} keeps weights in a file called {GRAPH_NAME} or model.py, a name that the "
            "repository needs. Save the graph anew with its weights in another file."
        )
        raise GraphError(msg)
    fixed = graph.inputs[0].shape[0]
    limit = None if fixed is None else (fixed, fixed)
    batch = _batch(path, form, limit, options.max_batch, usual_batch)
    return ServedModel(manifest, form, files, *batch)


def _engine(path: Path, options: TritonOptions, usual_batch: int | None) -> ServedModel:
    path = path.resolve()  # of a link, the record lies where it points
    form = options.form or "tensorrt"
    if form == "onnxruntime":
        msg = (
            f"{path} is an engine, and --form onnxruntime serves a graph. Name the graph, or leave "
            "--form out."
        )
        raise EngineError(msg)
    record = read_record(path)
    read_plan(path, record)  # whole, and the one that its record describes
    if form == "tensorrt" and record.backend != "tensorrt":
        msg = (
            f"{path} is of {record.title}, for which Triton has no backend: expected one of "
            "TensorRT. Give --form python, or build it with --backend tensorrt."
        )
        raise EngineError(msg)
    if record.options.strip_weights:
        msg = (
            f"{path} has its weights in the graph's file, where Triton does not look for them. "
            "Build it again without --strip-weights."
        )
        raise EngineError(msg)
    files = (
        {PLAN_NAME: path}
        if form == "tensorrt"
        else {ENGINE_NAME: path, f"{ENGINE_NAME}.json": record_path(path)}
    )
    least, _, most = (shape[0] for shape in record.inputs[record.manifest.input.name])
    batch = _batch(path, form, (least, most), options.max_batch, usual_batch)
    return ServedModel(record.manifest, form, files, *batch, on_gpu=True, dla=record.options.dla)


def _batch(
    path: Path,
    form: Form,
    limit: tuple[int, int] | None,
    asked: int | None,
    usual: int | None,
) -> tuple[int, int | None]:
    """Give Triton's limit of pictures a call, and the number that every call needs.

    Args:
        path: The file, for messages.
        form: Triton's backend.
        limit: The fewest and the most pictures that the file takes; None for any number.
        asked: The limit that the user wants.
        usual: The limit that there is without one.

    Raises:
        InputError: The file does not take what was asked for.
        EngineError: Triton may bring fewer pictures than the engine takes.
    """
    if form == "python" or limit is None:  # snow_runtime fills batches up, and cuts them
        return asked or usual or _USUAL_BATCH, None
    least, most = limit
    if least == most:
        if asked not in (None, most):
            msg = (
                f"{path} takes {most} picture(s) a call and --max-batch is {asked}: Triton does "
                "not fill batches up. Export the graph without --batch, build the engine with "
                f"--min-batch 1 --max-batch {asked}, or give --form python."
            )
            raise InputError(msg)
        return 0, most
    if least > 1:
        msg = (
            f"{path} takes {least} to {most} pictures a call, and Triton may bring one: expected "
            "an engine from 1 on. Build it with --min-batch 1, or give --form python."
        )
        raise EngineError(msg)
    if asked is not None and asked > most:
        msg = (
            f"--max-batch is {asked}, and {path} takes at most {most} pictures a call. Build it "
            "with a larger --max-batch, or ask for less here."
        )
        raise InputError(msg)
    return asked or min(most, usual or most), None
