"""What of a machine works, and how to mend what does not: `snow-deploy doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_runtime.doctor.backends import check_onnxruntime, check_tensorrt
from snow_runtime.doctor.cameras import check_cameras, check_opencv, check_pyav
from snow_runtime.doctor.cuda import check_driver, check_jetson
from snow_runtime.doctor.findings import NEEDS, Finding, Machine, Need

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

__all__ = ["NEEDS", "Finding", "Machine", "Need", "examine", "unmet"]

_CHECKS = (
    check_driver,
    check_jetson,
    check_onnxruntime,
    check_tensorrt,
    check_opencv,
    check_pyav,
    check_cameras,
)


def examine(machine: Machine | None = None) -> list[Finding]:
    """Look at everything; a check that itself fails is a finding, not a crash."""
    machine = machine or Machine()
    return [finding for check in _CHECKS for finding in _run(check, machine)]


def unmet(findings: Sequence[Finding], needs: Collection[Need]) -> list[Need]:
    """Return what was asked for and cannot run.

    A need is met where something that serves it works, and all that it stands or falls with
    does: a GPU for TensorRT, but not every camera for `camera`.
    """
    return [need for need in NEEDS if need in needs and not _met(findings, need)]


def _run(check: Callable[[Machine], Iterator[Finding]], machine: Machine) -> list[Finding]:
    try:
        return list(check(machine))
    except Exception as error:  # noqa: BLE001 - the other checks still have something to say
        seen = f"the check itself failed ({type(error).__name__}: {error})"
        return [Finding(check.__name__, "problem", seen, "please report this")]


def _met(findings: Sequence[Finding], need: Need) -> bool:
    serving = [finding for finding in findings if need in finding.serves]
    working = [finding for finding in serving if finding.level == "ok"]
    if need == "camera":
        return bool(working)
    topics = {finding.topic for finding in serving}
    return bool(serving) and topics == {finding.topic for finding in working}
