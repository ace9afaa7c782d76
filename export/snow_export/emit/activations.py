"""Rules for activations, of layers and of functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_export.errors import NoRuleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import fx

    from snow_export.emit.emitter import Emitter


def unary(op: str, **attributes: float) -> Callable[..., str]:
    """Return a rule of one operator on one tensor."""

    def rule(emitter: Emitter, node: fx.Node, *_: Any) -> str:
        return emitter.add(op, [emitter.name(node.args[0])], emitter.label(node), **attributes)

    return rule


def gelu(emitter: Emitter, node: fx.Node, value: Any, approximate: str = "none") -> str:
    """Write x / 2 * (1 + erf(x / sqrt(2))).

    Raises:
        NoRuleError: It is approximated otherwise.
    """
    if approximate != "none":
        msg = (
            f"{emitter.label(node)} is a GELU approximated by {approximate!r}; only the exact one "
            "exports"
        )
        raise NoRuleError(msg)
    label, name = emitter.label(node), emitter.name(value)
    scalar = {key: np.array(value, np.float32) for key, value in _GELU.items()}
    halved = emitter.add("Mul", [name, emitter.constant(f"{label}.half", scalar["half"])], label)
    scaled = emitter.add("Mul", [name, emitter.constant(f"{label}.root", scalar["root"])], label)
    error = emitter.add("Erf", [scaled], label)
    shifted = emitter.add("Add", [error, emitter.constant(f"{label}.one", scalar["one"])], label)
    return emitter.add("Mul", [halved, shifted], label)


_GELU = {"half": 0.5, "root": math.sqrt(0.5), "one": 1.0}


def silu(emitter: Emitter, node: fx.Node, value: Any) -> str:
    """Write x * sigmoid(x)."""
    label, name = emitter.label(node), emitter.name(value)
    gate = emitter.add("Sigmoid", [name], f"{label}.gate")
    return emitter.add("Mul", [name, gate], label)


def leaky_relu(emitter: Emitter, node: fx.Node, value: Any, slope: float) -> str:
    """Write x where it is positive, slope * x elsewhere."""
    return emitter.add("LeakyRelu", [emitter.name(value)], emitter.label(node), alpha=slope)


def elu(emitter: Emitter, node: fx.Node, value: Any, alpha: float) -> str:
    """Write x where it is positive, alpha * (exp(x) - 1) elsewhere."""
    return emitter.add("Elu", [emitter.name(value)], emitter.label(node), alpha=alpha)


def clip(emitter: Emitter, node: fx.Node, value: Any, low: float | None, high: float | None) -> str:
    """Write min(max(x, low), high); None is no limit."""
    label = emitter.label(node)
    limits = [
        "" if limit is None else emitter.constant(f"{label}.{side}", np.array(limit, np.float32))
        for side, limit in (("min", low), ("max", high))
    ]
    return emitter.add("Clip", [emitter.name(value), *limits], label)


def mish(emitter: Emitter, node: fx.Node, value: Any) -> str:
    """Write x * tanh(softplus(x))."""
    label, name = emitter.label(node), emitter.name(value)
    soft = emitter.add("Softplus", [name], f"{label}.softplus")
    gate = emitter.add("Tanh", [soft], f"{label}.gate")
    return emitter.add("Mul", [name, gate], label)


def softmax_over(emitter: Emitter, node: fx.Node, value: Any, axis: int) -> str:
    """Write a softmax over one axis."""
    rank = len(emitter.shape(node))
    return emitter.add("Softmax", [emitter.name(value)], emitter.label(node), axis=axis % rank)
