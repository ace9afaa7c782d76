"""A model's config.pbtxt, as the message that Triton's own definitions give it.

Axes: B pictures of a batch; C labels of a task; F features.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.errors import GraphError, MissingDependencyError
from snow_runtime.graph.manifest import METADATA_KEY
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from types import ModuleType

    from snow_runtime.graph.confidence_entry import ConfidenceEntry
    from snow_runtime.graph.manifest import Manifest, TaskEntry
    from snow_runtime.triton.options import TritonOptions
    from snow_runtime.triton.served import ServedModel

PICTURE: Final = "picture"
"""Input of the Python form: a JPEG, PNG or any other file that Pillow reads, `[B, 1]` of bytes."""
THREADS_KEY: Final = "intra_op_thread_count"
"""Parameter of Triton's onnxruntime backend, which our model of the Python backend reads too."""
_TYPES: Final = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}


def config_module() -> ModuleType:
    """Import the definitions of Triton's configuration.

    Raises:
        MissingDependencyError: Tritonclient, which has them, is not installed.
    """
    try:
        from tritonclient.grpc import model_config_pb2
    except (ImportError, RuntimeError) as error:  # RuntimeError: it is there without gRPC
        msg = (
            f"Tritonclient writes Triton's configuration, and it cannot be imported: {error}. "
            f"Install it: {pip_install('triton')}."
        )
        raise MissingDependencyError(msg) from error
    module: ModuleType = model_config_pb2
    return module


def make_config(name: str, version: int, served: ServedModel, options: TritonOptions) -> Any:
    """Give a model's configuration, a `ModelConfig` of the protocol.

    Args:
        name: Name of the model.
        version: Number of the version whose manifest it carries.
        served: What is served.
        options: What was asked for; what is None gets its usual value.

    Raises:
        GraphError: A tensor has a name that the Python form needs.
        MissingDependencyError: Tritonclient is not installed.
    """
    pb = config_module()
    config = pb.ModelConfig(name=name, backend=served.form, max_batch_size=served.max_batch)
    config.version_policy.all.SetInParent()
    _put_inputs(config, served)
    _put_outputs(config, served)
    if served.max_batch > 1:
        delay_us = round(1000 * (options.queue_delay_ms or 0))
        config.dynamic_batching.SetInParent()
        config.dynamic_batching.max_queue_delay_microseconds = delay_us
    _put_instances(pb, config, served, options)
    if options.threads is not None:
        config.parameters[THREADS_KEY].string_value = str(options.threads)
    if options.warm_up in (True, None):
        _put_warm_up(config, served)
    put_manifest(config, version, served.manifest)
    return config


def put_manifest(config: Any, version: int, manifest: Manifest) -> None:
    """Add what a client has to know of a version to a configuration."""
    config.parameters[manifest_key(version)].string_value = client_manifest(manifest).to_json()


def manifest_key(version: int | str) -> str:
    """Name the parameter that holds a version's manifest."""
    return f"{METADATA_KEY}.{version}"


def client_manifest(manifest: Manifest) -> Manifest:
    """Leave out of a manifest what grows with the network, and what no client needs.

    A hundred deltas on a ResNet-50 make 1.5 MB of channels that they read, without which it is
    0.07 MB. Each version adds its own, and a client of gRPC takes four in one message unless it is
    told otherwise.
    """
    tasks = tuple(
        replace(
            task,
            selections={},
            tap_selections={},
            metrics={},
            data=None,
            confidence=_without_familiarity(task),
        )
        for task in manifest.tasks
    )
    return replace(manifest, tasks=tasks, versions={})


def _without_familiarity(task: TaskEntry) -> ConfidenceEntry | None:
    """Leave out what the training pictures look like: some 0.4 MB a task of a ResNet-50."""
    return task.confidence and replace(task.confidence, familiarity=None)


def label_file(task: str) -> str:
    """Name the file of a task's labels, as seen from the model's folder."""
    return f"labels/{task}.txt"


def label_text(labels: tuple[str, ...]) -> str:
    """Write labels as Triton reads them: one a line."""
    return "".join(f"{' '.join(label.split())}\n" for label in labels)


def _axes(served: ServedModel, *axes: int) -> tuple[int, ...]:
    """Give a tensor's axes, with the batch where Triton does not batch by itself."""
    return axes if served.fixed_batch is None else (served.fixed_batch, *axes)


def _put_inputs(config: Any, served: ServedModel) -> None:
    manifest = served.manifest
    python = served.form == "python"
    if python:
        if PICTURE in (manifest.input.name, *manifest.outputs):
            msg = (
                f"The graph has a tensor called {PICTURE!r}, a name that the Python form needs for "
                "pictures. Export it with another name, or leave --form out."
            )
            raise GraphError(msg)
        config.input.add(name=PICTURE, data_type="TYPE_STRING", dims=[1], optional=True)
    shape = manifest.input.picture_shape(manifest.preprocessing.image_size)
    config.input.add(
        name=manifest.input.name,
        data_type=_TYPES[manifest.input.dtype],
        # Triton takes a layout of three axes only.
        format="FORMAT_NONE" if served.fixed_batch else f"FORMAT_{manifest.input.layout}",
        dims=_axes(served, *shape),
        optional=python,
    )


def _put_outputs(config: Any, served: ServedModel) -> None:
    manifest = served.manifest
    for task in manifest.tasks:
        count, labels = len(task.labels), label_file(task.name)
        dims = _axes(served, count)
        config.output.add(name=task.output, data_type="TYPE_FP32", dims=dims, label_filename=labels)
    if manifest.features is not None:
        dims = _axes(served, manifest.features.width)
        config.output.add(name=manifest.features.output, data_type="TYPE_FP32", dims=dims)
    if served.form != "python":
        return
    for task in manifest.tasks:
        name, count, labels = task.name, len(task.labels), label_file(task.name)
        config.output.add(name=label_output(name), data_type="TYPE_STRING", dims=[1])
        config.output.add(
            name=probabilities_output(name),
            data_type="TYPE_FP32",
            dims=[count],
            label_filename=labels,
        )


def label_output(task: str) -> str:
    """Name the Python form's output of a task's most probable label, bytes `[B, 1]` in UTF-8."""
    return f"{task}.label"


def probabilities_output(task: str) -> str:
    """Name the Python form's output of a task's probabilities, float32 `[B, C]`."""
    return f"{task}.probabilities"


def _put_instances(pb: Any, config: Any, served: ServedModel, options: TritonOptions) -> None:
    device = options.device or ("gpu" if served.on_gpu else "auto")
    group = config.instance_group.add(count=options.instances or 1, kind=f"KIND_{device.upper()}")
    if served.dla is not None:
        kind = pb.ModelInstanceGroup.SecondaryDevice.KIND_NVDLA
        group.secondary_devices.add(kind=kind, device_id=served.dla)


def _put_warm_up(config: Any, served: ServedModel) -> None:
    entry = served.manifest.input
    given = next(each for each in config.input if each.name == entry.name)
    for size in sorted({1, max(1, served.max_batch)}):
        sample = config.model_warmup.add(name=f"black, {size} at once", batch_size=size)
        zeros = sample.inputs[entry.name]
        zeros.data_type = given.data_type
        zeros.dims.extend(given.dims)
        zeros.zero_data = True
