"""What `snow-deploy run` keeps of what it sees, opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from snow_deploy.cli.run_plan import RunPlan
    from snow_runtime.app.loop import Loop
    from snow_runtime.collection.masks import Masking


def begin_collecting(plan: RunPlan, loop: Loop, stack: ExitStack) -> None:
    """Let a loop keep frames, if that is asked for.

    Args:
        plan: What to do.
        loop: What answers.
        stack: Ends it.

    Raises:
        InputError: The graph gives out no features, or there is no model of faces.
        CollectionError: The collection cannot be opened.
        MissingDependencyError: OpenCV, which finds faces, is not installed.
    """
    options = plan.options
    if plan.collecting is None or options.collect is None:
        return
    from snow_runtime.app.collecting import Collecting
    from snow_runtime.collection.collector import Collector

    if loop.model.manifest.features is None:
        msg = (
            "--collect keeps frames with their features, and the graph gives none out: expected "
            "one that was exported with --features. Export it again with 'snow-deploy export "
            "--features'."
        )
        raise InputError(msg)
    collector = Collector(options.collect, plan.collecting, loop.stats.count, masking_of(plan))
    stack.callback(collector.close)
    loop.collecting = Collecting(collector, loop.stats.count)


def masking_of(plan: RunPlan) -> Masking:
    """Return what is blacked out of pictures before they are stored; for one thread.

    Raises:
        InputError: There is no model of faces.
        MissingDependencyError: OpenCV, which finds faces, is not installed.
    """
    from snow_runtime.collection.faces import FaceFinder
    from snow_runtime.collection.masks import Masking

    model = plan.options.mask_faces
    return Masking(plan.masks, None if model is None else FaceFinder(model))
