"""Whether a version more fits the config.pbtxt that a model has: one for all its versions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.errors import InputError
from snow_runtime.graph.manifest import METADATA_KEY
from snow_runtime.triton.config import THREADS_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.triton.options import TritonOptions

_KINDS: Final = {"KIND_CPU": "cpu", "KIND_GPU": "gpu"}


def options_of(config: Any, asked: TritonOptions) -> TritonOptions:
    """Give what was asked for; a model of the Python form stays one where no form was."""
    stays = asked.form is None and config.backend == "python"
    return replace(asked, form="python") if stays else asked


def check_ours(path: Path, config: Any) -> None:
    """Refuse to add to a model that somebody else has written.

    Raises:
        InputError: No version in it has a manifest.
    """
    if not any(key.startswith(f"{METADATA_KEY}.") for key in config.parameters):
        msg = (
            f"{path} was not written by 'snow-deploy triton', and is left as it is. Give another "
            "--name or another -o."
        )
        raise InputError(msg)


def check_same_model(path: Path, there: Any, wanted: Any, asked: TritonOptions) -> None:
    """Refuse a version that a model's config does not describe.

    What somebody has set in it by hand stays, unless an option asks for something else.

    Args:
        path: The config, for the message.
        there: The message in it.
        wanted: The message that the version would have.
        asked: Options of the command line; None for what was not given.

    Raises:
        InputError: They differ; the message says in what.
    """
    found = [*_tensors(there, wanted), *_settings(there, wanted, asked)]
    if found:
        msg = (
            f"The new version does not fit {path}, which is of all its versions: "
            f"{'; '.join(found)}. Give another --name, or change the config by hand."
        )
        raise InputError(msg)


def _tensors(there: Any, wanted: Any) -> Iterator[str]:
    if there.backend != wanted.backend:
        yield f"the form is {there.backend or 'not said'}, and would be {wanted.backend}"
    for what in ("input", "output"):
        old = {each.name: _tensor(each) for each in getattr(there, what)}
        new = {each.name: _tensor(each) for each in getattr(wanted, what)}
        for name in dict.fromkeys([*old, *new]):
            if old.get(name) != new.get(name):
                seen, other = old.get(name, "not there"), new.get(name, "not there")
                yield f"the {what} {name!r} is {seen}, and would be {other}"


def _tensor(each: Any) -> str:
    kind = type(each).DESCRIPTOR.fields_by_name["data_type"].enum_type
    name = kind.values_by_number[each.data_type].name.removeprefix("TYPE_")
    return f"{name} {list(each.dims)}"


def _settings(there: Any, wanted: Any, asked: TritonOptions) -> Iterator[str]:
    if there.max_batch_size != wanted.max_batch_size:
        yield f"the batch is {there.max_batch_size}, and would be {wanted.max_batch_size}"
    group, other = (config.instance_group[:1] for config in (there, wanted))
    if asked.instances is not None and [each.count for each in group] != [asked.instances]:
        seen = ", ".join(str(each.count) for each in group) or "not said"
        yield f"the instances are {seen}, and would be {asked.instances}"
    threads = [config.parameters[THREADS_KEY].string_value for config in (there, wanted)]
    if asked.threads is not None and threads[0] != threads[1]:
        yield f"the threads are {threads[0] or 'not said'}, and would be {threads[1]}"
    if asked.device is not None and [each.kind for each in group] != [other[0].kind]:
        names = type(other[0]).Kind.Name
        seen = ", ".join(_KINDS.get(names(each.kind), "left to Triton") for each in group)
        yield f"the device is {seen or 'not said'}, and would be {asked.device}"
    delays = [each.dynamic_batching.max_queue_delay_microseconds for each in (there, wanted)]
    if asked.queue_delay_ms is not None and delays[0] != delays[1]:
        yield f"the delay is {delays[0] / 1000:g} ms, and would be {delays[1] / 1000:g} ms"
    if asked.warm_up is not None and bool(there.model_warmup) != asked.warm_up:
        state = "on" if there.model_warmup else "off"
        yield f"the warm-up is {state}, and would not be"
