"""The libraries that run graphs: ONNX Runtime, TensorRT, TensorRT-RTX."""

from __future__ import annotations

import base64
import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.backends.import_onnxruntime import silence_onnxruntime
from snow_runtime.doctor.findings import Finding
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snow_runtime.doctor.findings import Machine, Need

_CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
_ORT: Final = ("onnxruntime", "onnxruntime-gpu")

# A graph of one Relu, float32 [1] to float32 [1], opset 17: a provider at work shows on it.
_ONE_RELU: Final = base64.b64decode(
    "CAg6NwoMCgF4EgF5IgRSZWx1EgVwcm9iZVoPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEBE="
)


def check_onnxruntime(machine: Machine) -> Iterator[Finding]:
    """Look whether ONNX Runtime is there, alone, and whether its providers really start."""
    installed = {name: version for name, version in machine.versions().items() if name in _ORT}
    if len(installed) > 1:
        both = " and ".join(f"{name} {version}" for name, version in sorted(installed.items()))
        yield Finding(
            "ONNX Runtime",
            "problem",
            f"{both} are both installed, and share one folder: the later one has overwritten "
            "the other",
            f"pip uninstall -y onnxruntime onnxruntime-gpu && {pip_install('gpu')}",
            ("cuda",),
        )
    silence_onnxruntime()
    try:
        runtime = machine.load("onnxruntime")
    except ImportError as error:
        yield Finding(
            "ONNX Runtime",
            "absent" if not installed else "problem",
            f"cannot be imported ({error})",
            f"{pip_install('cpu')}; with an NVIDIA GPU: {pip_install('gpu')}",
            ("cpu", "cuda"),
        )
        return
    available = list(runtime.get_available_providers())
    short = ", ".join(name.removesuffix("ExecutionProvider") for name in available)
    yield Finding("ONNX Runtime", "ok", f"{runtime.__version__}, built with {short}")
    for provider, need in ((_CPU, "cpu"), (_CUDA, "cuda")):
        yield _provider(runtime, provider, need, available)  # type: ignore[arg-type]


def _provider(runtime: Any, provider: str, need: Need, available: list[str]) -> Finding:
    topic = f"ONNX Runtime on {need.upper()}"
    if provider not in available:
        return Finding(
            topic,
            "absent",
            "this build does not have it",
            f"pip uninstall -y onnxruntime && {pip_install('gpu')}",
            (need,),
        )
    try:
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        if provider == _CUDA and hasattr(runtime, "preload_dlls"):
            with contextlib.redirect_stdout(sys.stderr):  # it prints what it misses
                runtime.preload_dlls()
        session = runtime.InferenceSession(
            _ONE_RELU, options, providers=[provider], enable_fallback=0
        )
        working = list(session.get_providers())
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's classes share no other base
        return _silent(topic, need, str(error).partition("\n")[0])
    if provider not in working:
        return _silent(topic, need, f"a session asked for it works on {', '.join(working)}")
    return Finding(topic, "ok", "a session runs on it", serves=(need,))


def _silent(topic: str, need: Need, why: str) -> Finding:
    return Finding(
        topic,
        "problem",
        f"does not start: {why[:200]}",
        "ONNX Runtime would fall back to the CPU without a word; install the CUDA and cuDNN that "
        "it was built for (pip install 'onnxruntime-gpu[cuda,cudnn]'), and check the driver"
        if need == "cuda"
        else "install ONNX Runtime anew",
        (need,),
    )


def check_tensorrt(machine: Machine) -> Iterator[Finding]:
    """Look for TensorRT, and whether its libraries load; a Jetson has it from JetPack."""
    yield _module(
        machine,
        "TensorRT",
        "tensorrt",
        "tensorrt",
        f"{pip_install('tensorrt')}; on Jetson it comes with JetPack: sudo apt install "
        "python3-libnvinfer, and make the virtual environment with --system-site-packages",
    )
    yield _module(
        machine,
        "TensorRT-RTX",
        "tensorrt_rtx_bindings",
        "tensorrt-rtx",
        f"{pip_install('rtx')} (not for Jetson)",
    )


def _module(machine: Machine, topic: str, module: str, need: Need, fix: str) -> Finding:
    try:
        loaded = machine.load(module)
        version = str(loaded.__version__)
        loaded.Builder  # noqa: B018 - a package whose libraries are missing lacks it
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == module:
            return Finding(topic, "absent", "is not installed", fix, (need,))
        return Finding(topic, "problem", f"lacks {error.name}", fix, (need,))
    except Exception as error:  # noqa: BLE001 - loaders raise what the system gives them
        return Finding(
            topic,
            "problem",
            f"is installed but its libraries do not load ({str(error)[:200]})",
            fix,
            (need,),
        )
    return Finding(topic, "ok", f"{version}, its libraries load", serves=(need,))
