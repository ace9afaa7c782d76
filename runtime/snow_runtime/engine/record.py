"""The record beside a plan, `x.engine.json`: what the plan is, and where it runs."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from snow_runtime.engine.achieved import Achieved
from snow_runtime.engine.host import Host
from snow_runtime.engine.options import LEAST_SHARE, BuildOptions
from snow_runtime.errors import EngineError, ManifestError
from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document, parse_json
from snow_runtime.graph.field_checks import Positive, Sha256
from snow_runtime.graph.manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = 1
MIB: Final = 1 << 20


def _options(where: str, value: object) -> BuildOptions:
    try:
        return value if isinstance(value, BuildOptions) else BuildOptions.from_dict(where, value)
    except EngineError as error:
        raise ManifestError(str(error)) from error


def _three(where: str, value: object) -> tuple[tuple[int, ...], ...]:
    shapes = field_checks.items(where, value)
    if len(shapes) != 3:
        raise field_checks.refusal(where, value, "three shapes: smallest, best, largest")
    return tuple(
        tuple(field_checks.integer(where, size, 1) for size in field_checks.items(where, shape))
        for shape in shapes
    )


_Shapes: TypeAlias = Annotated[tuple[tuple[int, ...], ...], _three]


@dataclass(frozen=True)
class EngineRecord(Document):
    """What a plan is.

    Attributes:
        plan_sha256: SHA-256 of the plan file; a plan with another is not loaded.
        plan_bytes: Its size.
        graph: The graph's file, as seen from the record's folder.
        graph_sha256: SHA-256 of that file.
        backend: What built it, `tensorrt` or `tensorrt-rtx`.
        version: Version of that library.
        host: The machine that it was built on.
        options: What it was asked to be.
        inputs: Shapes by input name: the smallest, best and largest shape, batch first.
        manifest: The graph's, in the precision that was built.
        achieved: Arithmetic that the convolutions run in.
        compute_layers: How many layers launch a kernel.
        build_s: Time that compiling took, in seconds.
        built_at: Time of the build, in UTC and ISO 8601.
        snow_deploy: Version of this project.
        format: Version of this document's format.

    Raises:
        ManifestError: A field has the wrong type or range.
    """

    plan_sha256: Sha256
    plan_bytes: Positive
    graph: str
    graph_sha256: Sha256
    backend: Annotated[str, field_checks.one_of("tensorrt", "tensorrt-rtx")]
    version: str
    host: Host
    options: Annotated[BuildOptions, _options]
    inputs: dict[str, _Shapes] = field(hash=False)
    manifest: Manifest
    achieved: Achieved
    compute_layers: int
    build_s: float
    built_at: str
    snow_deploy: str
    format: Annotated[int, field_checks.one_of(FORMAT)] = FORMAT

    @property
    def title(self) -> str:
        """What built it, for people."""
        return f"{'TensorRT' if self.backend == 'tensorrt' else 'TensorRT-RTX'} {self.version}"

    def to_json(self) -> str:
        """Write the record; the manifest as a table of its own."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        data.update(
            host=asdict(self.host),
            options=self.options.to_dict(),
            manifest=json.loads(self.manifest.to_json()),
            achieved=asdict(self.achieved),
        )
        lines = (f"{json.dumps(key)}: {json.dumps(data[key], allow_nan=False)}" for key in data)
        return "{\n  " + ",\n  ".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> EngineRecord:
        """Read what :meth:`to_json` wrote.

        Raises:
            ManifestError: Not JSON, of another format, or with a field missing, unknown or wrong.
        """
        data = parse_json(text)
        if isinstance(data, dict):  # before other fields: another format may have others
            field_checks.choice("format", data.get("format"), (FORMAT,))
        return cls.read("the record", data)

    def command(self, engine: Path, *, portable: bool = False) -> str:
        """Give the command that builds this engine anew, at `engine`.

        Args:
            engine: The plan's path.
            portable: Whether to leave out for which GPUs it was built, for it has to run on others.
        """
        options = self.options
        graph = engine.parent / self.graph
        shown = str(graph) if not str(graph).startswith("-") else f"./{graph}"
        words = ["snow-deploy", "build-engine", shown]
        words += [f"--{options.precision}"] if options.precision else []
        words += ["--backend", self.backend]
        if options.targets and not portable:
            words += ["--target", ",".join(options.targets)]
        if options.batches != (1, 1, 1):
            for name, value in zip(("min", "opt", "max"), options.batches, strict=True):
                words += [f"--{name}-batch", str(value)]
        if options.workspace_bytes is not None:
            words += ["--workspace", str(options.workspace_bytes // MIB)]
        if options.optimization_level is not None:
            words += ["--optimization-level", str(options.optimization_level)]
        for name in ("hardware_compatible", "version_compatible", "strip_weights"):
            if getattr(options, name):
                words.append(f"--{name.replace('_', '-')}")
        if options.dla is not None:
            words += ["--dla", str(options.dla)]
        if options.least_share != LEAST_SHARE:
            words += ["--least-share", str(options.least_share)]
        return shlex.join([*words, "-o", str(engine)])
