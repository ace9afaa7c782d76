"""The whole of a measurement: starts, turns, and what is left of it after Ctrl-C."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from snow_runtime.bench.contender import Contender, Frames
from snow_runtime.bench.machine import describe_machine, describe_versions, read_state
from snow_runtime.bench.report import BenchReport, ContenderEntry
from snow_runtime.bench.startup import start_once
from snow_runtime.bench.turn_plan import plan_turns, turns
from snow_runtime.bench.turns import measure_in_turns, warm_up
from snow_runtime.doctor import Machine
from snow_runtime.files import sha256_file

if TYPE_CHECKING:
    from snow_runtime.bench.options import BenchOptions
    from snow_runtime.progress import ProgressCallback

_STARTS_SHARE: Final = 0.2  # of the progress; a guess


def bench(
    options: BenchOptions,
    progress: ProgressCallback | None = None,
    machine: Machine | None = None,
) -> BenchReport:
    """Measure all contenders.

    Ctrl-C ends it early: the report then holds what was measured so far and says so.

    Args:
        options: What is measured.
        progress: Callback that gets what is being done and the share of the whole that is done.
        machine: What the report describes; None for this one.

    Raises:
        BenchError: A contender refuses the batch, or the duration is too short for one call.
        SnowError: A contender cannot be loaded or fails.
    """
    machine = machine or Machine()
    progress = progress or (lambda _phase, _share: None)
    report = BenchReport(
        options,
        [ContenderEntry(path, path.stat().st_size, sha256_file(path)) for path in options.models],
        versions=describe_versions(machine),
    )
    try:
        report.machine, notes = describe_machine(machine)
        report.before, more = read_state(machine, gpu=bool(report.machine["gpus"]))
        report.notes += notes + more
        _start_all(report, progress)
        _measure(report, progress, machine)
    except KeyboardInterrupt:
        report.interrupted = True
    return report


def _start_all(report: BenchReport, progress: ProgressCallback) -> None:
    entries, options = report.entries, report.options
    order = [
        entries[index] for number in range(options.starts) for index in turns(len(entries), number)
    ]
    for done, entry in enumerate(order):
        progress(f"starting {entry.path.name}", _STARTS_SHARE * done / len(order))
        entry.starts.append(start_once(entry.path, options))


def _measure(report: BenchReport, progress: ProgressCallback, machine: Machine) -> None:
    options = report.options
    with ExitStack() as stack:
        contenders = []
        for entry in report.entries:
            progress(f"loading {entry.path.name}", _STARTS_SHARE)
            contender = Contender(entry.path, options)
            stack.callback(contender.close)
            entry.take(contender)
            contenders.append(contender)
        frames = Frames(options)
        call_s = max(warm_up(contender, frames) for contender in contenders)
        report.plan = plan_turns(options.duration_s, call_s)
        measure_in_turns(
            contenders,
            frames,
            report.plan,
            lambda phase, share: progress(phase, _STARTS_SHARE + (1 - _STARTS_SHARE) * share),
        )
        report.after, _ = read_state(machine, gpu=bool(report.machine["gpus"]))
