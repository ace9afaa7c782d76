"""Chooses, among all that a checkpoint holds, the weights of one network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.errors import SourceError
from snow_deploy.models.key_matching import FittedWeights, fit_weights, misfit
from snow_deploy.models.source_weights import some
from snow_deploy.models.state_dicts import find_sets, tensors_below, without_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from snow_deploy.models.architectures import NetworkKeys
    from snow_deploy.models.state_dicts import WeightSet


def choose_weights(
    tensors: Mapping[str, Tensor],
    keys: NetworkKeys,
    key: str | None,
    origin: str,
    say: Callable[[str], None],
) -> Mapping[str, Tensor]:
    """Return the weights of the one network in a checkpoint, or of the one that is asked for.

    Of several that fit, the one is taken that is no average over training, if there is one such.

    Args:
        tensors: All of the checkpoint's, by their full names.
        keys: The network's own names.
        key: Place of the weights, such as `state_dict_ema`; None where that is plain.
        origin: The checkpoint, for people.
        say: Callback that gets, a line at a time, what was chosen among several and what was passed
            over.

    Raises:
        SourceError: None fits, or several do and nothing says which is meant.
    """
    tensors = without_settings(tensors, keys)
    inside = tensors if key is None else tensors_below(tensors, key)
    if not inside:
        outermost = list(dict.fromkeys(name.partition(".")[0] for name in tensors))
        msg = (
            f"{origin} holds nothing called {key!r}; it holds {some('parts', outermost, 8)}. "
            "Name one with --weights-key, or leave it out."
        )
        raise SourceError(msg)
    found = find_sets(inside, keys)
    if not found:
        reason = f"too few of its {some('tensors', list(inside))} have the names of that network's"
        raise misfit(origin, keys, reason, inside)
    tried = {each.name: _try(each, inside, keys, origin) for each in found}
    name, fitted = _pick(found, tried, origin)
    if others := [
        each or "its outermost"
        for each, one in tried.items()
        if each != name and isinstance(one, FittedWeights)
    ]:
        say(
            f"{origin} holds several sets of weights that fit: {name or 'its outermost'} is taken, "
            f"{', '.join(others)} passed over. Choose another one with --weights-key."
        )
    for note in fitted.notes:
        say(f"{origin}: {note}.")
    return fitted.state


def _try(
    found: WeightSet, tensors: Mapping[str, Tensor], keys: NetworkKeys, origin: str
) -> FittedWeights | SourceError:
    """Return the weights of a set, or why they do not serve."""
    try:
        return fit_weights(
            found, tensors, keys, f"{origin}: {found.name}" if found.name else origin
        )
    except SourceError as error:
        return error


def _pick(
    found: Sequence[WeightSet], tried: Mapping[str, FittedWeights | SourceError], origin: str
) -> tuple[str, FittedWeights]:
    """Return the only set that fits, or the only one of them that is no average over training."""
    plain = [each.name for each in found if not each.is_averaged]
    first = plain or [each.name for each in found]
    fitting = [(name, one) for name in first if isinstance(one := tried[name], FittedWeights)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise next(one for name in first if isinstance(one := tried[name], SourceError))
    names = [name or "its outermost" for name, _ in fitting]
    msg = (
        f"{origin} holds several sets of weights that fit: {', '.join(names)}. Choose one, such as "
        f"--weights-key {names[-1]}."
    )
    raise SourceError(msg)
