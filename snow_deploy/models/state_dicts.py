"""Finds the sets of weights in a checkpoint, in whatever containers and behind whatever prefixes.

A checkpoint is read as one flat list of tensors: `state_dict`, `model.` and `backbone.` are all
parts of names. A set of weights is a part of a name behind which an architecture's own keys come.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snow_deploy.errors import SourceError
from snow_deploy.models.architectures import COUNTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from snow_deploy.models.architectures import NetworkKeys

Parts = tuple[str, ...]

_WRAPPERS = frozenset(
    {
        *("module", "_orig_mod", "_module", "_forward_module"),  # replicas, compilers, privacy
        *("_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
    }
)
"""Parts of a name that torch's wrappers put in; no layer of torchvision's is called so."""
COUNTERS = frozenset({COUNTER, "n_averaged", "num_updates", "total_ops", "total_params"})
"""Last parts of names that trainings, averages and profilers count under."""
_DEPTH = 8  # of containers in containers; what is deeper holds no weights
_MOST = 200_000  # containers and tensors; trainings of large networks leave some thousands
_PARTS = 100  # of a name; what has more is no weight's
_REPEATED_BYTES = 1 << 28  # of one value that is to stand for many; no layer is larger
_AVERAGED = re.compile(r"(?i)(^|_)(ema|swa|avg|averaged?|shadow|polyak|momentum)(_|$)")


@dataclass(frozen=True)
class WeightSet:
    """One network's weights within a checkpoint.

    Attributes:
        name: Place of the tensors, such as `state_dict_ema`; empty where they are all there is.
        keys: The checkpoint's key by torchvision's.
        beside: What else is in the same place, by what the key is there: the checkpoint's key.
        around: The checkpoint's keys that are in no set's place.
    """

    name: str
    keys: Mapping[str, str]
    beside: Mapping[str, str]
    around: tuple[str, ...] = ()

    @property
    def is_averaged(self) -> bool:
        """Tell whether the name says that these are an average over training."""
        return any(_AVERAGED.search(part) for part in self.name.split("."))


def flatten_state_dict(content: Any) -> dict[str, Tensor]:
    """Return the tensors in a checkpoint by their full names.

    Counters are left out by their names, and weights that torch.nn.utils.prune keeps with their
    mask are multiplied by it.

    Args:
        content: Tensors by name, and containers of such.

    Raises:
        SourceError: There are far more than any training leaves, as where containers are nested to
            exhaust whoever looks into them.
    """
    found = _walk(content, "", _DEPTH, iter(range(_MOST)))
    tensors = {key: value for key, value in found if key.rpartition(".")[2] not in COUNTERS}
    left = sum(_held_bytes(tensors.values()).values())
    for key in [key for key in tensors if key.endswith("_orig")]:
        mask = tensors.get(f"{key.removesuffix('_orig')}_mask")
        if mask is None or mask.shape != tensors[key].shape or not _are_plain(tensors[key], mask):
            continue
        if tensors[key].nbytes > tensors[key].untyped_storage().nbytes():
            continue
        left -= tensors[key].nbytes
        if left >= 0:  # else many share what few hold, and each product would take its own
            tensors[key.removesuffix("_orig")] = tensors.pop(key) * mask
            del tensors[f"{key.removesuffix('_orig')}_mask"]
    return tensors


def _held_bytes(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Return the sizes of the memory that tensors are views of, by its address."""
    plain = (each for each in tensors if _are_plain(each))
    return {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in plain}


def _walk(content: Any, name: str, depth: int, left: Iterator[int]) -> Iterator[tuple[str, Tensor]]:
    """Give the tensors by their full names, as long as there is something left to count with."""
    if not isinstance(content, Tensor | Mapping | list | tuple):
        return
    if next(left, None) is None:
        msg = (
            f"the checkpoint holds more than {_MOST} containers and tensors, one in the other, far "
            "more than any network. Save the tensors alone: torch.save(model.state_dict(), "
            "'weights.pth')."
        )
        raise SourceError(msg)
    if isinstance(content, Tensor):
        bare = Tensor.detach(content)  # without attributes, which a file may set to anything
        if name and not bare.is_nested:  # which has no shape
            yield name, bare
    elif depth:
        pairs = content.items() if isinstance(content, Mapping) else enumerate(content)
        for key, value in pairs:
            part = key if isinstance(key, str) and key.isprintable() else ascii(key)
            yield from _walk(value, f"{name}.{part}" if name else part, depth - 1, left)


def without_settings(tensors: Mapping[str, Tensor], keys: NetworkKeys) -> dict[str, Tensor]:
    """Leave out the single integers that are no network's, such as how many epochs there were."""
    known = {name.rpartition(".")[2] for name in keys.shapes if keys.is_setting(name)}
    return {
        key: value
        for key, value in tensors.items()
        if value.is_floating_point() or value.numel() > 1 or key.rpartition(".")[2] in known
    }


def unwrap(key: str) -> Parts:
    """Return the parts of a name without those that wrappers put in."""
    return tuple(part for part in key.split(".") if part not in _WRAPPERS)


def tensors_below(tensors: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a place's."""
    begin = unwrap(place)
    return {key: v for key, v in tensors.items() if unwrap(key)[: len(begin)] == begin}


def places(tensors: Mapping[str, Tensor], least: int = 8) -> list[Parts]:
    """Return the beginnings of names behind which at least so many tensors are, the wide first."""
    counts: dict[Parts, int] = defaultdict(int)
    for key in tensors:
        parts = unwrap(key)
        for length in range(min(len(parts), 4)):
            counts[parts[:length]] += 1
    return [place for place, count in counts.items() if count >= least]


def find_sets(tensors: Mapping[str, Tensor], keys: NetworkKeys) -> list[WeightSet]:
    """Find every set of weights with at least half of an architecture's keys.

    Args:
        tensors: What `flatten_state_dict` returned.
        keys: The architecture's.

    Returns:
        The sets in the checkpoint's order; of equal ones the first alone.
    """
    body = {name for name in keys.shapes if not keys.is_head(name) and not keys.is_setting(name)}
    groups = _group(tensors, keys)
    enough = [
        (place, found)
        for place, found in groups.items()
        if 2 * len(body.intersection(found)) >= len(body)
    ]
    if not any(body <= set(found) for _, found in enough):
        mixed = _mix(groups, body)
        enough = enough if mixed is None else [mixed]
    taken = {key for _, found in enough for key in found.values()}
    inside = {place: _beside(place, tensors, taken) for place, _ in enough}
    within = taken.union(*(beside.values() for beside in inside.values()))
    around = tuple(key for key in tensors if key not in within)
    sets = [WeightSet(".".join(at), found, inside[at], around) for at, found in enough]
    return _without_repeats(sets, tensors)


def _beside(place: Parts, tensors: Mapping[str, Tensor], taken: set[str]) -> dict[str, str]:
    """Return the keys in a place that no set has taken, by what they are called there."""
    begin = len(place)
    names = {key: unwrap(key) for key in tensors if key not in taken}
    return {".".join(parts[begin:]): key for key, parts in names.items() if parts[:begin] == place}


def own_names(keys: NetworkKeys) -> dict[str, str] | None:
    """Return a network's names by what is left of them without what wrappers put in.

    A network may be in a wrapper itself, or call a part of its own as wrappers call theirs. None
    where two of its names would be one.
    """
    names = {".".join(unwrap(name)): name for name in keys.shapes}
    return names if len(names) == len(keys.shapes) else None


def _as_it_is(key: str) -> Parts:
    return tuple(key.split("."))


def _group(tensors: Mapping[str, Tensor], keys: NetworkKeys) -> dict[Parts, dict[str, str]]:
    """Return the checkpoint's keys by what stands before torchvision's, and by torchvision's."""
    raw: dict[Parts, dict[str, str]] = defaultdict(dict)
    own = own_names(keys)
    bare = unwrap if own is not None else _as_it_is
    for key in tensors:
        parts = key.split(".")
        if len(parts) > _PARTS:
            continue
        for cut, part in enumerate(parts):
            name = modern_name(".".join(bare(".".join(parts[cut:]))), keys.architecture)
            name = name if own is None else own.get(name, "")
            if name in keys.shapes and (own is None or part not in _WRAPPERS):
                raw[tuple(parts[:cut])][name] = key
    groups: dict[Parts, dict[str, str]] = {}
    for place, found in raw.items():
        plain = unwrap(".".join(place)) if place else ()
        known = groups.get(plain, {})
        same = all(_same(tensors[known[n]], tensors[found[n]]) for n in known if n in found)
        here = plain if same else place  # two networks, of which one is wrapped
        groups[here] = {**found, **groups.get(here, {})}
    return groups


def _mix(
    groups: Mapping[Parts, Mapping[str, str]], body: set[str]
) -> tuple[Parts, dict[str, str]] | None:
    """Put a network together whose keys have different prefixes; None where that gives none."""
    found: dict[str, str] = {}
    used: list[Parts] = []
    for place, more in sorted(groups.items(), key=lambda item: -len(item[1])):
        known = set(found.values())
        new = {name: key for name, key in more.items() if name not in found and key not in known}
        if body.intersection(new):
            found.update(new)
            used.append(place)
    if not body <= set(found):
        return None
    together = takewhile(lambda parts: len(set(parts)) == 1, zip(*used, strict=False))
    return tuple(parts[0] for parts in together), found


def _without_repeats(sets: list[WeightSet], tensors: Mapping[str, Tensor]) -> list[WeightSet]:
    different: list[WeightSet] = []
    for one in sets:
        if not any(_equal(one, other, tensors) for other in different):
            different.append(one)
    return different


def _equal(one: WeightSet, other: WeightSet, tensors: Mapping[str, Tensor]) -> bool:
    pairs = ((tensors[key], tensors[other.keys.get(n, key)]) for n, key in one.keys.items())
    return set(one.keys) == set(other.keys) and all(_same(a, b) for a, b in pairs)


def _same(one: Tensor, other: Tensor) -> bool:
    if one is other:
        return True
    return one.dtype == other.dtype and _are_plain(one, other) and torch.equal(one, other)


def what_is_odd(value: Tensor) -> str | None:
    """Say what a tensor is that cannot be a network's weight; None where it can."""
    if _lacks_values(value):
        return "a shape, and not as many values"
    if value.layout != torch.strided:
        return f"{value.dtype} values in a sparse layout"
    if value.is_quantized or not value.is_floating_point():
        return f"{value.dtype} values"
    return None


def _lacks_values(value: Tensor) -> bool:
    """Tell what nothing may be computed with: it may claim to be larger than any memory."""
    if value.is_meta:
        return True
    if value.layout != torch.strided:
        return False
    return value.nbytes > max(value.untyped_storage().nbytes(), _REPEATED_BYTES)


def _are_plain(*values: Tensor) -> bool:
    return not any(_lacks_values(v) or v.layout != torch.strided for v in values)


_DENSE_LAYER = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\.\w+)")


def modern_name(name: str, architecture: str) -> str:
    """Return what torchvision calls a tensor now: its DenseNets' files say `norm.1` for `norm1`."""
    if architecture.startswith("densenet"):
        return _DENSE_LAYER.sub(r"\1\2", name)
    return name
