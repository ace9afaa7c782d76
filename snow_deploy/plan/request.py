"""What a plan is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snow_deploy.errors import PlanError

if TYPE_CHECKING:
    from snow_deploy.plan.accuracy import Basis
    from snow_deploy.plan.device import Device
    from snow_runtime.graph.manifest import Precision

MOST_GRAPHS: Final = 8
"""So many candidates are counted in graphs of their own unless said otherwise."""


@dataclass(frozen=True)
class Budget:
    """What a run may take. The newest frames of all cameras are answered together, as one batch.

    Attributes:
        ms: Milliseconds that a run may take; None asks for the frontier alone.
        cameras: Number of cameras, the pictures of a run.
    """

    ms: float | None = None
    cameras: int = 1

    @classmethod
    def of(cls, ms: float | None, fps: float | None, cameras: int) -> Budget:
        """Return the budget that a time or a rate of frames leaves.

        Args:
            ms: Milliseconds.
            fps: Frames a second of each camera.
            cameras: Number of cameras.

        Raises:
            PlanError: Both are given.
        """
        if ms is not None and fps is not None:
            msg = "--budget-ms and --fps are both a budget; give one of them."
            raise PlanError(msg)
        return cls(1e3 / fps if fps is not None else ms, cameras)


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is asked for.

    Attributes:
        store: Store of variants that name none.
        tasks: Tasks and their variants, as `--task` has them; none are all of the store.
        device: Device that times are predicted for; None goes by measurements alone.
        budget: What a run may take.
        gates: INT8 graphs, beside which a gate's report lies.
        measurements: Files of `bench --json`.
        precision: The one precision to plan in; None is every one that there are accuracies of.
        basis: What accuracies are compared by.
        graphs: Number of candidates at most that are counted in graphs of their own.
        compiles: Whether TensorRT-RTX counts the layers, where it is installed.
    """

    store: Path = Path("store")
    tasks: tuple[str, ...] = ()
    device: Device | None = None
    budget: Budget = field(default_factory=Budget)
    gates: tuple[Path, ...] = ()
    measurements: tuple[Path, ...] = ()
    precision: Precision | None = None
    basis: Basis = "held-out"
    graphs: int = MOST_GRAPHS
    compiles: bool = True

    def __post_init__(self) -> None:
        """Check that times can be had.

        Raises:
            PlanError: Neither a device nor a measurement is given.
        """
        if self.device is None and not self.measurements:
            msg = (
                "there is nothing to tell a time by. Give --device NAME, or --bench FILE with what "
                "'snow-deploy bench --json' printed on the device."
            )
            raise PlanError(msg)
