"""A real Triton on this machine, of `make triton-server`; also for the tests that serve."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

PLACE = Path(__file__).resolve().parents[1] / ".triton"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Triton and its models meet


class NoTritonError(Exception):
    """There is no Triton here; the message says how to get one."""


@dataclass(frozen=True)
class Installed:
    """Where `make triton-server` has put what.

    Attributes:
        python: The interpreter that runs models.
        packages: What is installed for it.
        stub: The process of a model, for this interpreter.
        library: Folder of the interpreter's shared library.
    """

    python: Path
    packages: Path
    stub: Path
    library: Path


def find_triton(place: Path = PLACE) -> Installed:
    """Find the Triton of `make triton-server`.

    Raises:
        NoTritonError: It is not there, or not whole.
    """
    python = place / "bin/python"
    if not (place / ".installed").exists():
        msg = f"there is no Triton in {place.name}: make triton-server"
        raise NoTritonError(msg)
    ask = (
        "import sys, sysconfig; print(sysconfig.get_path('purelib'));"
        "print('.'.join(map(str, sys.version_info[:2]))); print(sysconfig.get_config_var('LIBDIR'))"
    )
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)  # noqa: S603
    packages, number, library = done.stdout.splitlines()
    parts = Path(packages) / "pytriton/tritonserver"
    stub = parts / "python_backend_stubs" / number / "triton_python_backend_stub"
    if not stub.exists():
        msg = f"the Triton in {place.name} has no model process for Python {number}"
        raise NoTritonError(msg)
    return Installed(python, Path(packages), stub, Path(library))


class TritonServer:
    """A Triton that serves a repository on loopback until it is closed.

    Args:
        repository: The repository.
        folder: An empty folder for its backend and its log.
        port: Its gRPC port; 0 for a free one.
        only: Models to load; none for all.

    Attributes:
        port: Its gRPC port.

    Raises:
        NoTritonError: There is none here.
        RuntimeError: It ended, or was not ready in time; the message holds the end of its log.
    """

    def __init__(
        self, repository: Path, folder: Path, port: int = 0, only: Sequence[str] = ()
    ) -> None:
        installed = find_triton()
        self.port = port or _free_port()
        self._log = folder / "log"
        self._shared = f"snow_{secrets.token_hex(4)}"
        backends = _lay_out(installed, folder / "backends")
        binary = installed.packages / "pytriton/tritonserver/bin/tritonserver"
        command = [
            binary,
            f"--model-repository={repository}",
            f"--backend-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={self._shared}",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self.port}",
            "--allow-http=false",
            "--allow-metrics=false",
            *(["--model-control-mode=explicit"] if only else []),
            *(f"--load-model={name}" for name in only),
        ]
        libraries = [installed.packages / "nvidia_pytriton.libs", installed.library]
        environment = {
            **os.environ,
            "PATH": f"{installed.python.parent}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(errors="replace")

    def address(self, model: str) -> str:
        """Give the address of a model, for `snow_runtime.remote`."""
        return f"grpc://127.0.0.1:{self.port}/{model}"

    def close(self) -> None:
        """End it and the processes of its models."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # in order, it takes seconds
        self._process.wait()
        for left in _SHARED_MEMORY.glob(f"{self._shared}*"):
            left.unlink(missing_ok=True)

    def _wait(self, patience_s: float = 120) -> None:
        """Wait until it listens, which it does once its models are loaded."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until and self._process.poll() is None:
            with socket.socket() as asking:
                if asking.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("Triton did not start:\n" + self.log[-3000:])


def _lay_out(installed: Installed, backends: Path) -> Path:
    """Put the Python backend and the model process beside each other, as Triton wants them."""
    folder = backends / "python"
    if not folder.exists():
        folder.mkdir(parents=True)
        ours = installed.packages / "pytriton/tritonserver/backends/python"
        for path in (installed.stub, *ours.iterdir()):
            (folder / path.name).symlink_to(path)
    return backends


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
