"""What an engine is to be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Final, TypeAlias

from snow_runtime.errors import EngineError
from snow_runtime.graph import field_checks
from snow_runtime.graph.document import read_fields
from snow_runtime.graph.field_checks import Target  # noqa: TC001 - `read_fields` looks at it
from snow_runtime.graph.manifest import Precision  # noqa: TC001 - likewise

LEAST_SHARE: Final = 0.95
LARGEST_BATCH: Final = 4096
_LARGEST_WORKSPACE: Final = 1 << 50  # bytes

_Batch: TypeAlias = Annotated[int, field_checks.between(1, LARGEST_BATCH)]


@dataclass(frozen=True)
class BuildOptions:
    """What an engine is to be; two builds with equal options are interchangeable.

    Attributes:
        precision: What the graph is made to be before it is compiled; None leaves it as it is.
        targets: GPUs to compile for, such as `sm86`, ascending; empty for the one that is here.
        min_batch: The fewest pictures a run; None for 1, ...
        opt_batch: ... what it is tuned for; None for the most, ...
        max_batch: ... and the most; None for the fewest.
        workspace_bytes: Memory that a layer may use for intermediate values; None leaves it to
            TensorRT, within what the machine has.
        optimization_level: 0 to 5, how long TensorRT searches; None leaves it at TensorRT's own.
        hardware_compatible: Whether it has to run on every GPU from Ampere on.
        version_compatible: Whether later versions of TensorRT have to load it.
        strip_weights: Whether the weights stay outside, to be put in from the graph at loading.
        dla: Core of the deep learning accelerator to run on; None for the GPU.
        least_share: Share of the convolutions that have to run in `precision`; 0 asks nothing.

    Raises:
        EngineError: Values that contradict each other or are out of range.
    """

    precision: Precision | None = None
    targets: tuple[Target, ...] = ()
    min_batch: _Batch | None = None
    opt_batch: _Batch | None = None
    max_batch: _Batch | None = None
    workspace_bytes: int | None = None
    optimization_level: int | None = None
    hardware_compatible: bool = False
    version_compatible: bool = False
    strip_weights: bool = False
    dla: int | None = None
    least_share: float = LEAST_SHARE

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(sorted(set(self.targets), key=_number)))
        least, best, most = self.batches
        if not 1 <= least <= best <= most <= LARGEST_BATCH:
            msg = (
                f"The batch sizes are {least}, {best} and {most} (least, tuned for, most), "
                f"expected each at least the one before it, from 1 to {LARGEST_BATCH}. Give "
                "--min-batch, --opt-batch and --max-batch in that order."
            )
            raise EngineError(msg)
        for name, value, low, high in (
            ("--optimization-level", self.optimization_level, 0, 5),
            ("--dla", self.dla, 0, 15),
            ("--workspace", self.workspace_bytes, 1, _LARGEST_WORKSPACE),
            ("--least-share", self.least_share, 0, 1),
        ):
            if value is not None and not low <= value <= high:
                msg = f"{name} is {value}, expected {low} to {high}. Change it."
                raise EngineError(msg)
        if self.dla is not None and self.precision == "fp32":
            msg = (
                "The deep learning accelerator computes in fp16 and INT8 only, and fp32 was "
                "asked for. Give --fp16 or --int8."
            )
            raise EngineError(msg)

    @property
    def batches(self) -> tuple[int, int, int]:
        """The fewest pictures a run, what it is tuned for, and the most."""
        least = 1 if self.min_batch is None else self.min_batch
        most = max(least, self.opt_batch or 1) if self.max_batch is None else self.max_batch
        return least, most if self.opt_batch is None else self.opt_batch, most

    def for_backend(self, name: str) -> BuildOptions:
        """Return the same without what the other library offers only."""
        if name == "tensorrt-rtx":
            return replace(self, hardware_compatible=False, version_compatible=False, dla=None)
        return replace(self, targets=())

    def with_batches(self, least: int, best: int, most: int) -> BuildOptions:
        """Return the same with these batch sizes."""
        return replace(self, min_batch=least, opt_batch=best, max_batch=most)

    def resolved(
        self,
        precision: Precision,
        graph_batch: int | None,
        targets: tuple[str, ...],
    ) -> BuildOptions:
        """Return the same with everything said that was left open.

        Args:
            precision: Precision of the prepared graph.
            graph_batch: The batch that the graph fixes; None where it takes any.
            targets: What is compiled for unless the options say otherwise.

        Raises:
            EngineError: Other batches were asked for than the graph takes.
        """
        given = {self.min_batch, self.opt_batch, self.max_batch} - {None}
        if graph_batch is not None and given - {graph_batch}:
            msg = (
                f"The graph takes batches of {graph_batch} only, and other batch sizes were asked "
                "for. Leave the batch options out, or export the graph without --batch."
            )
            raise EngineError(msg)
        batches = self.batches if graph_batch is None else (graph_batch,) * 3
        return replace(
            self,
            precision=precision,
            targets=self.targets or targets,
        ).with_batches(*batches)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "targets": list(self.targets)}

    @classmethod
    def from_dict(cls, where: str, data: object) -> BuildOptions:
        """Read what :meth:`to_dict` gave.

        Raises:
            ManifestError: A field is missing, unknown or of another type.
        """
        return cls(**read_fields(cls, where, data))


def _number(target: str) -> tuple[int, str]:
    digits = target.removeprefix("sm")
    return (int(digits), target) if digits.isdigit() else (0, target)
