"""What precision an engine's convolutions really run in, by its compiled layers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from snow_runtime.errors import EngineError
from snow_runtime.graph import field_checks
from snow_runtime.graph.document import Document
from snow_runtime.graph.manifest import Precision

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from snow_runtime.engine.layers import CompiledLayer

UNKNOWN: Final = "unknown"
_PRECISIONS: Final = {"Float": "fp32", "Half": "fp16", "Int8": "int8", "BFloat16": "bf16"}
_WIDTH: Final = {"int8": 0, "fp16": 1, "bf16": 1, "fp32": 2}
_SHOWN: Final = 5
_MOVING: Final = frozenset({"kgen", "Reformat", "NoOp", "PointWise", "PointWiseV2", "Constant"})
"""Kinds of layers that multiply only where no other layer names the node."""


@dataclass(frozen=True)
class Achieved(Document):
    """In what precision the convolutions of an engine run.

    Attributes:
        precision: The one that was asked for.
        convolutions: How many have to run in it; those kept in floating point on purpose do not.
        in_precision: How many do.
        by_precision: All of them, those kept included, by what they run in.
        others: The ONNX nodes that have to and do not, with what they run in.
    """

    prefix: ClassVar[str] = "achieved."

    precision: Precision
    convolutions: int
    in_precision: int
    by_precision: dict[str, int]
    others: dict[str, str]

    @property
    def share(self) -> float:
        """Share of the convolutions in the precision asked for, 0 to 1."""
        return self.in_precision / self.convolutions if self.convolutions else 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        place = self._place("in_precision")
        field_checks.integer(place, self.in_precision, 0, self.convolutions)

    def demand(self, least_share: float) -> None:
        """Refuse an engine that is not what was asked for.

        Raises:
            EngineError: Fewer than `least_share` of the convolutions run in the precision; the
                message names them.
        """
        if self.share >= least_share:
            return
        named = list(self.others.items())
        listed = ", ".join(f"{name} ({ran})" for name, ran in named[:_SHOWN])
        more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        msg = (
            f"The compiled engine is not {self.precision}: {self.in_precision} of "
            f"{self.convolutions} convolutions run in it, expected at least {least_share:.0%}. "
            f"Others: {listed}{more}. Nothing was written. 'snow-deploy inspect --int8' finds what "
            "keeps INT8 layers from fusing; --least-share accepts a lower share."
        )
        raise EngineError(msg)


def achieved(
    layers: Sequence[CompiledLayer],
    convolutions: Sequence[str],
    precision: Precision,
    quantised: Collection[str] | None = None,
) -> Achieved:
    """Find what every convolution runs in.

    A convolution's layer is, of all that name it, the one made for multiplying with the most
    weights: the others pad its input, or move and round its result. It runs in the wider of its
    weights' and its input's type.

    Args:
        layers: Layers of the compiled engine.
        convolutions: ONNX names of the graph's convolutions and matrix products.
        precision: The one that was asked for.
        quantised: Names of those that the graph computes in INT8; the others are kept in floating
            point on purpose. None demands all of them.
    """
    heaviest: dict[str, CompiledLayer] = {}
    for layer in layers:
        for node in layer.nodes:
            best = heaviest.get(node)
            if best is None or _weight(layer) > _weight(best):
                heaviest[node] = layer
    ran = {name: _precision(heaviest.get(name)) for name in convolutions}
    wanted = dict.fromkeys(ran if quantised is None else quantised)
    demanded = {name: ran.get(name, UNKNOWN) for name in wanted}
    others = {name: it for name, it in demanded.items() if it != precision}
    return Achieved(
        precision,
        len(demanded),
        len(demanded) - len(others),
        dict(Counter(ran.values()).most_common()),
        others,
    )


def _weight(layer: CompiledLayer) -> tuple[bool, int]:
    return layer.kind not in _MOVING, layer.weight_count


def _precision(layer: CompiledLayer | None) -> str:
    if layer is None:
        return UNKNOWN
    types = [layer.weights] if layer.weights else []
    types += [it for it in layer.inputs[:1] if it]
    known = [_PRECISIONS[it] for it in types if it in _PRECISIONS]
    return max(known, key=lambda it: _WIDTH[it], default=UNKNOWN)
