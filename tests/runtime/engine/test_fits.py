"""Which engines run where: checked before TensorRT sees a byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from snow_runtime.engine.backend import Backend
from snow_runtime.engine.load import check_fits
from snow_runtime.engine.options import BuildOptions
from snow_runtime.errors import BuiltElsewhereError
from tests.runtime.engine.records import DESKTOP, ORIN, record_of

if TYPE_CHECKING:
    from snow_runtime.engine.host import Host
    from snow_runtime.engine.record import EngineRecord

PATH = Path("snow.engine")


def tensorrt(version: str) -> Backend:
    return Backend("tensorrt", SimpleNamespace(__version__=version))


def rtx(version: str = "1.7.1") -> Backend:
    return Backend("tensorrt-rtx", SimpleNamespace(__version__=version, ComputeCapability=()))


def portable() -> EngineRecord:
    return record_of(
        backend="tensorrt-rtx",
        version="1.7.1",
        host=replace(DESKTOP, gpu=None, target=None, cuda=None),
        options=BuildOptions("fp16", ("sm80", "sm86")),
    )


def refused(record: EngineRecord, backend: Backend, host: Host) -> str:
    with pytest.raises(BuiltElsewhereError) as caught:
        check_fits(PATH, record, backend, host)
    return str(caught.value)


def test_where_it_was_built_it_runs() -> None:
    check_fits(PATH, record_of(), tensorrt("10.3.0"), ORIN)
    check_fits(PATH, record_of(), tensorrt("10.3.0"), replace(ORIN, cuda="13.0"))


def test_the_message_says_for_what_what_is_here_and_the_command() -> None:
    message = refused(record_of(), tensorrt("10.16.1"), replace(ORIN, jetpack="7"))

    assert message == (
        "snow.engine does not run here: it needs TensorRT 10.3.0 exactly, and TensorRT 10.16.1 is "
        "installed. It was built by TensorRT 10.3.0 on Orin (sm87), linux-aarch64, JetPack 6.1 or "
        "later for sm87; here are TensorRT 10.16.1 and Orin (sm87), linux-aarch64, JetPack 7. "
        "Build it for this machine: snow-deploy build-engine snow.onnx --fp16 --backend tensorrt "
        "--min-batch 1 --opt-batch 2 --max-batch 4 -o snow.engine"
    )


@pytest.mark.parametrize(
    ("built", "here", "runs"),
    [
        ("10.3.0", "10.3.0", True),
        ("10.3.0", "10.16.1.11", True),
        ("10.3.0", "11.4.0", True),
        ("10.16.1", "10.3.0", False),
        ("11.4.0", "10.16.1", False),
    ],
)
def test_a_version_compatible_engine_runs_on_later_versions(
    built: str, here: str, *, runs: bool
) -> None:
    options = BuildOptions("fp16", version_compatible=True)
    record = record_of(version=built, options=options)

    if runs:
        check_fits(PATH, record, tensorrt(here), ORIN)
    else:
        assert "exactly" in refused(record, tensorrt(here), ORIN)


def test_another_gpu(caplog: pytest.LogCaptureFixture) -> None:
    record = record_of(host=DESKTOP)
    ada = replace(DESKTOP, gpu="NVIDIA GeForce RTX 4090", target="sm89")
    sibling = replace(DESKTOP, gpu="NVIDIA RTX A2000")

    assert "compiled for sm86 only" in refused(record, tensorrt("10.3.0"), ada)
    check_fits(PATH, record, tensorrt("10.3.0"), sibling)
    assert "tuned on a NVIDIA GeForce RTX 3090 and runs on a NVIDIA RTX A2000" in caplog.text


def test_a_hardware_compatible_engine_runs_from_ampere_on() -> None:
    record = record_of(host=DESKTOP, options=BuildOptions("fp16", hardware_compatible=True))

    check_fits(PATH, record, tensorrt("10.3.0"), replace(DESKTOP, target="sm120"))
    turing = replace(DESKTOP, target="sm75")
    assert "needs a GPU from Ampere on" in refused(record, tensorrt("10.3.0"), turing)


def test_another_system() -> None:
    message = refused(record_of(host=DESKTOP), tensorrt("10.3.0"), ORIN)

    assert "built on linux-x86_64, and this is linux-aarch64" in message


def test_no_gpu() -> None:
    host = replace(DESKTOP, gpu=None, target=None)

    message = refused(portable(), rtx(), host)
    assert "there is no GPU that works" in message
    assert "build-engine" not in message  # it would not help


def test_the_other_library() -> None:
    message = refused(record_of(), rtx(), DESKTOP)

    assert "it is an engine of TensorRT 10.3.0." in message
    assert "--backend tensorrt-rtx" in message
    flags = BuildOptions("fp16", hardware_compatible=True, version_compatible=True)
    assert "compatible" not in refused(record_of(options=flags), rtx(), DESKTOP)


def test_engines_of_tensorrt_rtx() -> None:
    check_fits(PATH, portable(), rtx(), DESKTOP)
    check_fits(PATH, portable(), rtx(), replace(DESKTOP, platform="windows-amd64"))
    check_fits(PATH, portable(), rtx(), replace(DESKTOP, target="sm121"))  # it decides itself
    ampere_too_old = replace(DESKTOP, target="sm75")
    assert "not compiled for sm75" in refused(portable(), rtx(), ampere_too_old)
    message = refused(portable(), rtx("1.8.0"), DESKTOP)
    assert "needs TensorRT-RTX 1.7.1 exactly" in message
    assert "--target" not in message
