"""The labelling page of `snow-deploy run`, beside the live page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from snow_runtime.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from snow_deploy.cli.run_plan import RunPlan
    from snow_runtime.app.labelling import Labelling
    from snow_runtime.refit.service import RefitService


def labelling_page(
    now: Callable[[], RunPlan], refit: RefitService | None, stack: ExitStack
) -> Labelling | None:
    """Make the labelling page, if frames are kept and a page is served.

    Args:
        now: Function that gives what is done, which may change while it runs.
        refit: What fits readouts; None where nothing does.
        stack: Ends it.
    """
    plan = now()
    if plan.options.collect is None or plan.options.port is None:
        return None
    from snow_runtime.app.labelling import Labelling
    from snow_runtime.collection.collection import Collection

    try:
        collection = Collection.open(plan.options.collect, create=True, options=plan.collecting)
    except CollectionError as error:  # what collects has looked whether it is one at all
        click.echo(f"warning: nothing is labelled until run begins anew: {error}", err=True)
        return None
    stack.enter_context(collection)
    return Labelling(collection, refit, lambda: shown_views(now()))


def shown_views(plan: RunPlan) -> list[tuple[str, str]]:
    """Return what the cameras show, each camera with the name of a view, "" for the whole."""
    whole = [(name, "") for name, _ in plan.cameras]
    drawn = ((camera, view.name) for camera, views in plan.views.items() for view in views)
    asked = ((each.camera, each.view.name) for each in plan.questions or ())
    return list(dict.fromkeys([*whole, *drawn, *asked]))
