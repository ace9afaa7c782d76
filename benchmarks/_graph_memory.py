"""What a process holds that answers by a graph: run as a process of its own, which loads no torch.

    python -m benchmarks._graph_memory GRAPH.onnx SIDE THREADS

prints the most resident memory in bytes after some pictures; nothing where the system tells none.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from snow_runtime.backends.onnxruntime_session import OnnxSession
from snow_runtime.bench.process_memory import read_process_memory

_PICTURES = 3


def graph_memory(path: Path, side: int, threads: int) -> int | None:
    """Return the most resident memory in bytes of a process that answers by a graph."""
    command = [sys.executable, "-m", __spec__.name, str(path), str(side), str(threads)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    return int(printed) if printed.strip() else None


def main(path: str, side: int, threads: int) -> None:
    """Answer about some pictures and print what this process held at most."""
    session = OnnxSession(Path(path), providers=["CPUExecutionProvider"], threads=threads)
    for _ in range(_PICTURES):
        session.run(np.zeros((1, 3, side, side), np.float32))
    print(read_process_memory().peak_bytes or "")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
