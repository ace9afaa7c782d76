"""What is done around a layer's call: computed weights are made plain, hooks are taken off.

A graph of layers holds neither. torch's norms of weights and its pruning compute a weight before
each call, always the same one in eval mode, by a hook or as a parametrisation. What other hooks do
is seen by comparing answers.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from snow_deploy.models.plain.tracer import is_whole

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPUTING = (BasePruningMethod, SpectralNorm, WeightNorm)
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


def deep_copy(network: nn.Module) -> nn.Module:
    """Copy a network, also one whose hooks leave computed weights in it, which torch refuses."""
    memo: dict[int, Any] = {}
    for layer in network.modules():
        for value in vars(layer).values():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(network, memo)


def take_off_compile(network: nn.Module) -> nn.Module:
    """Take torch.compile off a network and its parts, in place; return what was compiled.

    Nothing would be faster for one batch, and compiling takes a C++ compiler and a minute.
    """
    if any(isinstance(layer, torch.jit.ScriptModule) for layer in network.modules()):
        return network  # which is refused later
    bare = _compiled(network)
    for layer in bare.modules():
        layer._compiled_call_impl = None  # noqa: SLF001 - of Module.compile()
        for name, part in layer.named_children():
            if _compiled(part) is not part:
                setattr(layer, name, _compiled(part))
    return bare


def _compiled(network: nn.Module) -> nn.Module:
    while isinstance(inner := getattr(network, "_orig_mod", None), nn.Module):
        network = inner
    return network


@torch.no_grad()
def settle_weights(network: nn.Module) -> None:
    """Put computed weights in the place of what they are computed from, in place."""
    for layer in network.modules():
        before: dict[int, Callable[..., Any]] = layer._forward_pre_hooks  # noqa: SLF001
        for key, hook in list(before.items()):
            if isinstance(hook, _COMPUTING):
                hook.remove(layer)
                del before[key]
        if parametrize.is_parametrized(layer):
            _settle_parametrised(layer)


def _settle_parametrised(layer: nn.Module) -> None:
    """Do what `remove_parametrizations` does, which would change the class of all copies too."""
    names = list(layer.parametrizations)  # type: ignore[arg-type]
    values = {name: getattr(layer, name).detach().clone() for name in names}
    kind = parametrize.type_before_parametrizations(layer)
    del layer.parametrizations
    layer.__class__ = kind
    for name, value in values.items():
        layer.register_parameter(name, nn.Parameter(value))


def take_off_hooks(network: nn.Module) -> list[str]:
    """Take the hooks off layers that are kept whole, in place; return the layers' names."""
    hooked = []
    for name, layer in network.named_modules():
        hooks: list[dict[int, Any]] = [getattr(layer, each) for each in _HOOKS]
        if any(hooks) and is_whole(layer):
            hooked.append(name or type(layer).__name__)
            for each in hooks:
                each.clear()
    return hooked
