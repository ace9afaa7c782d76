"""What a measurement came to, as plain JSON values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snow_runtime.bench.figures import frames_per_s, ratio_of_medians, summarise
from snow_runtime.bench.stages import STAGES, LatencySamples
from snow_runtime.bench.startup import Start, summarise_starts

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.bench.contender import Contender
    from snow_runtime.bench.options import BenchOptions
    from snow_runtime.bench.turn_plan import TurnPlan

_COMPARED = ("latency", "inference")


@dataclass
class ContenderEntry:
    """What is known of a contender; it grows while the measurement goes on.

    Attributes:
        path: Its file.
        file_bytes: Its size.
        sha256: SHA-256 of its content.
        starts: Its starts so far.
        samples: The times of its calls so far.
        facts: What loading showed of it; empty before.
    """

    path: Path
    file_bytes: int
    sha256: str
    starts: list[Start] = field(default_factory=list)
    samples: LatencySamples = field(default_factory=LatencySamples)
    facts: dict[str, Any] = field(default_factory=dict)

    def take(self, contender: Contender) -> None:
        """Take a loaded contender's own facts, and its samples, to which it goes on adding."""
        manifest = contender.model.manifest
        self.samples = contender.samples
        self.facts = {
            "tasks": list(contender.model.tasks),
            "input": manifest.input.dtype,
            "image_size": manifest.preprocessing.image_size,
            "precision": manifest.precision,
            "layout": manifest.layout,
            "source_sha256": manifest.source.sha256,
            "task_sha256": {task.name: task.sha256 for task in manifest.tasks},
            "providers": list(contender.session.providers),
        }

    def to_dict(self, batch: int) -> dict[str, Any]:
        """Return plain JSON values; None for what was not measured."""
        latency_ms = self.samples.times_ms("latency")
        latency = summarise(latency_ms)
        stages = {stage: summarise(self.samples.times_ms(stage)) for stage in STAGES}
        return {
            "name": self.path.name,
            "path": str(self.path),
            "file_bytes": self.file_bytes,
            "sha256": self.sha256,
            **self.facts,
            "start_up": summarise_starts(self.starts),
            "each_start": [start.to_dict() for start in self.starts],
            "calls": len(self.samples),
            "rounds": self.samples.rounds,
            "frames_per_s": frames_per_s(latency_ms, batch),
            "latency": latency.to_dict() if latency else None,
            "stages": {name: it.to_dict() if it else None for name, it in stages.items()},
        }


@dataclass
class BenchReport:
    """A measurement, or as much of it as was made.

    Attributes:
        options: What was asked for.
        entries: The contenders, in the order in which they were given.
        plan: How it was cut into turns; None where it did not come to that.
        machine: What it ran on.
        before: What of that changes, before the first start.
        after: The same after the last one; None where it did not come to that.
        versions: Versions of what the figures depend on.
        notes: What a reader should know.
        interrupted: Whether Ctrl-C ended it.
    """

    options: BenchOptions
    entries: list[ContenderEntry]
    plan: TurnPlan | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the whole of it."""
        contenders = [entry.to_dict(self.options.batch) for entry in self.entries]
        ratios = self._ratios()
        return {
            "interrupted": self.interrupted,
            "options": self.options.to_dict(),
            "rounds": self.plan.rounds if self.plan else None,
            "turn_s": self.plan.turn_s if self.plan else None,
            "contenders": contenders,
            "ratios": ratios,
            "machine": self.machine,
            "state": {"before": self.before or None, "after": self.after},
            "versions": self.versions,
            "notes": [*self.notes, *_remarks(contenders, ratios)],
        }

    def _ratios(self) -> list[dict[str, Any]]:
        """Compare the others with the first; one that has no whole round is left out."""
        first, *others = self.entries
        ratios = []
        for other in others:
            whole = min(other.samples.rounds, first.samples.rounds)  # the last may be one's alone
            if whole == 0:
                continue
            pair: dict[str, Any] = {"name": other.path.name, "to": first.path.name}
            for what in _COMPARED:
                mine, its = (it.samples.rounds_ms(what)[:whole] for it in (other, first))
                pair[what] = ratio_of_medians(mine, its, seed=self.options.seed).to_dict()
            ratios.append(pair)
        return ratios


def _remarks(contenders: list[dict[str, Any]], ratios: list[dict[str, Any]]) -> list[str]:
    """Say what the figures themselves leave open."""
    remarks = []
    if few := [it["name"] for it in contenders if 0 < it["calls"] < 100]:
        remarks.append(f"p99 of {', '.join(few)}: of fewer than 100 calls, nearly the slowest one")
    if any(it["latency"]["low"] is None for it in ratios):
        remarks.append("ratios: too few rounds for an interval; give a longer --duration")
    if any(it["calls"] and it["stages"]["copy"] is None for it in contenders):
        remarks.append("copy: not told apart; where a device is copied to, it is within inference")
    return remarks
