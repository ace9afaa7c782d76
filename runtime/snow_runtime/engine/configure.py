"""The settings that TensorRT compiles with: flags, targets, devices and shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snow_runtime.engine.backend import TARGETS
from snow_runtime.errors import EngineError, GraphError
from snow_runtime.machine.driver import gpu_here

if TYPE_CHECKING:
    from snow_runtime.engine.backend import Backend
    from snow_runtime.engine.options import BuildOptions

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorShapes:
    """One of a plan's inputs: its smallest, best and largest shape."""

    name: str
    smallest: Shape
    best: Shape
    largest: Shape


def configure(backend: Backend, builder: Any, options: BuildOptions) -> Any:
    """Make TensorRT's configuration of a build.

    Raises:
        EngineError: This TensorRT, or this machine, lacks what the options ask for.
    """
    trt = backend.module
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # lists the layers
    config.clear_flag(backend.flag("BuilderFlag", "TF32"))  # fp32 means fp32
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.hardware_compatible:
        if backend.cross_compiles:
            msg = (
                f"{backend.title} has no --hardware-compatible: its engines name their GPUs. Give "
                "--target sm80,sm86,sm89,sm120 instead."
            )
            raise EngineError(msg)
        level = backend.flag("HardwareCompatibilityLevel", "AMPERE_PLUS")
        config.hardware_compatibility_level = level
    if options.version_compatible:
        if backend.cross_compiles:
            msg = (
                f"{backend.title} has no --version-compatible: its engines load in the very "
                "release that built them. Build one for each release that is in use."
            )
            raise EngineError(msg)
        config.set_flag(backend.flag("BuilderFlag", "VERSION_COMPATIBLE"))
    if options.strip_weights:
        _strip_weights(backend, config)
    if options.dla is not None:
        _use_dla(backend, builder, config, options.dla, options)
    _set_targets(backend, config, options)
    return config


def _strip_weights(backend: Backend, config: Any) -> None:
    config.set_flag(backend.flag("BuilderFlag", "STRIP_PLAN"))
    if not backend.cross_compiles:
        return
    if gpu_here() is None:
        msg = (
            f"{backend.title} strips weights only where a GPU is, and there is none here. Leave "
            "--strip-weights out, or build on the device."
        )
        raise EngineError(msg)
    config.set_flag(backend.flag("BuilderFlag", "REFIT"))


def _use_dla(backend: Backend, builder: Any, config: Any, core: int, options: BuildOptions) -> None:
    there = int(getattr(builder, "num_DLA_cores", 0))
    if core >= there:
        seen = "no deep learning accelerator" if not there else f"{there} of them, from 0"
        msg = (
            f"--dla {core} was asked for, and {backend.title} finds {seen} here. A Jetson AGX "
            "Orin or Orin NX has them with TensorRT 10.3 (JetPack 6.1 and 6.2), not with TensorRT "
            "10.8 to 11.3; Orin Nano and Thor have none. Leave --dla out to run on the GPU."
        )
        raise EngineError(msg)
    least, _, most = options.batches
    if least != most:
        msg = (
            f"The deep learning accelerator takes one batch size, and {least} to {most} were asked "
            "for. Give --min-batch and --max-batch alike."
        )
        raise EngineError(msg)
    trt = backend.module
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(backend.flag("BuilderFlag", "GPU_FALLBACK"))


def _set_targets(backend: Backend, config: Any, options: BuildOptions) -> None:
    if not options.targets:
        return
    if not backend.cross_compiles:
        msg = (
            f"{backend.title} builds for the GPU that it runs on, and --target "
            f"{','.join(options.targets)} was asked for. Leave --target out, give "
            "--hardware-compatible for all GPUs from Ampere on, or --backend tensorrt-rtx."
        )
        raise EngineError(msg)
    capabilities = backend.module.ComputeCapability
    for target in options.targets:
        if target not in TARGETS or not hasattr(capabilities, target.upper()):
            msg = (
                f"{backend.title} does not compile for {target!r}, expected some of "
                f"{', '.join(TARGETS)}. Choose among them; engines for other GPUs and for Jetson "
                "are built on the device, with TensorRT."
            )
            raise EngineError(msg)
    config.num_compute_capabilities = len(options.targets)
    for index, target in enumerate(options.targets):
        config.set_compute_capability(getattr(capabilities, target.upper()), index)


def add_profile(
    builder: Any, network: Any, config: Any, options: BuildOptions
) -> tuple[TensorShapes, ...]:
    """Tell TensorRT the batches that the inputs come in, and return their shapes.

    Raises:
        GraphError: More than the batch is left open.
        EngineError: TensorRT takes no such batches.
    """
    profile = builder.create_optimization_profile()
    shapes = []
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        first, *rest = tuple(tensor.shape) or (1,)
        if min(rest, default=1) < 1:
            msg = (
                f"The graph's input {tensor.name!r} has the shape {[first, *rest]}, expected "
                "fixed sizes but for the batch. Export it with a fixed picture size."
            )
            raise GraphError(msg)
        batches = options.batches if first < 0 else (first,) * 3
        sizes = [tuple(int(size) for size in (batch, *rest)) for batch in batches]
        profile.set_shape(tensor.name, *sizes)
        shapes.append(TensorShapes(tensor.name, *sizes))
    if config.add_optimization_profile(profile) < 0:
        msg = (
            f"TensorRT takes no batches of {', '.join(map(str, options.batches))} (least, tuned "
            "for, most) for this graph. Give other batch sizes."
        )
        raise EngineError(msg)
    return tuple(shapes)
