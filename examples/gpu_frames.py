"""Frames of other libraries: python examples/gpu_frames.py snow.onnx."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import snow_runtime


def frames() -> dict[str, Any]:
    """Make one picture the way each library that is installed here has it."""
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    found: dict[str, Any] = {"NumPy": pixels}
    try:
        import torch
    except ImportError:
        return found
    found["PyTorch, by DLPack"] = torch.from_numpy(pixels)
    if torch.cuda.is_available():  # by __cuda_array_interface__, as CuPy's and pycuda's arrays
        found["PyTorch on the GPU"] = torch.from_numpy(pixels).cuda()
        try:
            import pycuda.autoprimaryctx  # noqa: F401 - shares PyTorch's context; autoinit would not
            from pycuda import gpuarray
        except ImportError:
            return found
        found["pycuda"] = gpuarray.to_gpu(pixels)
    return found


def main(path: str) -> None:
    """Ask about each; the answers are the same."""
    with snow_runtime.load(path) as model:
        for name, frame in frames().items():
            print(name, {task.name: task.label for task in model(frame).values()})


if __name__ == "__main__":
    main(sys.argv[1])
