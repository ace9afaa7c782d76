"""A plan as text: the variants, the best combination, the frontier, and how far to trust times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.cli.tables import columns
from snow_deploy.plan.device_model import DeviceModel, model_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snow_deploy.plan.accuracy import Accuracy
    from snow_deploy.plan.combination import Combination
    from snow_deploy.plan.device import Device
    from snow_deploy.plan.device_model import ModelError
    from snow_deploy.plan.plan import Plan

_NOTHING = "-"


def plan_lines(plan: Plan, *, explain: bool) -> Iterator[str]:
    """Write a plan for people.

    Args:
        plan: The plan.
        explain: Whether to list the parts of the best time, and the model against every figure.
    """
    yield from columns(list(_variant_rows(plan)), left=3)
    yield ""
    if plan.best is not None:
        yield from _best_lines(plan, plan.best)
        yield ""
    yield from columns(list(_frontier_rows(plan)), left=0)
    yield ""
    yield "accuracy: ± is one standard error; the means' is as if every task had its own pictures"
    if plan.request.device is not None:
        yield from _model_lines(plan, plan.request.device)
    if explain:
        yield from _explained(plan)
    yield from (f"note: {note}" for note in plan.notes)


def _variant_rows(plan: Plan) -> Iterator[Sequence[str]]:
    precisions = list(plan.accuracies)
    yield ("task", "variant", "form", *(f"accuracy {each}" for each in precisions), "measured on")
    for place, task in enumerate(plan.candidates.tasks):
        for number, variant in enumerate(task.variants):
            found = [plan.accuracies[each][place][number] for each in precisions]
            known = next((each for each in found if each is not None), None)
            named = task.name if number == 0 else ""
            yield (named, variant.name, variant.form, *map(_accuracy, found), _kind(known))


def _accuracy(found: Accuracy | None) -> str:
    if found is None:
        return _NOTHING
    return _with_error(found.value, found.error)


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}"


def _kind(found: Accuracy | None) -> str:
    if found is None:
        return _NOTHING
    pictures = "?" if found.pictures is None else str(found.pictures)
    return f"{pictures}, {found.kind}"


def _best_lines(plan: Plan, best: Combination) -> Iterator[str]:
    budget = plan.request.budget
    pictures = "" if budget.cameras == 1 else f" for {budget.cameras} pictures"
    layers = "" if best.workload is None else f", {_layers(best)} layers"
    yield (
        f"best within {budget.ms:g} ms{pictures}: {best.ms:.2f} ms {best.said}, {best.precision}"
        f"{layers}; total accuracy {best.total:.4f}, mean "
        f"{_with_error(best.mean, best.mean_error)}"
    )
    rows = [
        (f"  {task}", name, _accuracy(best.accuracies[task]))
        for task, name in best.variants.items()
    ]
    yield from columns(rows, left=2)
    if best.measured is not None:
        yield f"  measured on {best.measured.machine}: {best.measured.name} in {best.measured.path}"
        if best.predicted is not None:
            yield f"  predicted for it: {best.predicted.ms:.2f} ms"


def _layers(found: Combination) -> str:
    """Return the number of layers; composed ones have a `~`."""
    if found.workload is None:
        return _NOTHING
    return f"{'' if found.counted else '~'}{found.workload.layers:.0f}"


def _frontier_rows(plan: Plan) -> Iterator[Sequence[str]]:
    names = [task.name for task in plan.candidates.tasks]
    yield ("ms", "", "mean accuracy", "precision", "layers", *names)
    for each in plan.frontier:
        mean = _with_error(each.mean, each.mean_error)
        own = [each.variants[name] for name in names]
        yield (f"{each.ms:.2f}", each.said, mean, each.precision, _layers(each), *own)


def _model_lines(plan: Plan, device: Device) -> Iterator[str]:
    stands = "" if device.target == device.capability else f", in the place of {device.capability}"
    composed = "~: composed of parts, not counted in a graph of its own"
    if plan.composed_error is not None:
        composed += f"; times of parts were off by {plan.composed_error:.1%} at most"
    yield f"layers: {plan.layers_from}{stands}. {composed}"
    errors = [it for it in model_errors() if it.predicted_ms > 0]
    own = [it for it in errors if it.figure.device == device.name]
    alike = [it for it in errors if _generation(it) == device.generation]
    yield (
        f"predicted: by a model of the {device.title}, not measured. Against published times it is "
        f"off by {_range(own)} on this device and {_range(alike)} on {device.generation}; "
        "--explain lists them. --bench puts measured times in its place"
    )


def _generation(error: ModelError) -> str:
    from snow_deploy.plan.device import DEVICES

    return DEVICES[error.figure.device].generation


def _range(errors: Sequence[ModelError]) -> str:
    shares = [it.error for it in errors]
    if len(shares) == 1:
        return f"{shares[0]:+.0%} (one figure)"
    return f"{min(shares):+.0%} to {max(shares):+.0%} ({len(shares)} figures)"


def _explained(plan: Plan) -> Iterator[str]:
    device = plan.request.device
    shown = plan.best or plan.frontier[-1]
    if device is not None and shown.predicted is not None and shown.workload is not None:
        parts, work = shown.predicted, shown.workload
        cycles = DeviceModel(device).cycles_per_layer
        yield ""
        yield (
            f"predicted {parts.ms:.2f} ms = {parts.launch_ms:.2f} for {work.layers:.0f} layers of "
            f"{cycles:,.0f} cycles at {device.clock_ghz:g} GHz + {parts.memory_ms:.2f} for "
            f"{work.weights / 1e6:.1f} M weights and {work.values / 1e6:.1f} M values a picture at "
            f"{device.memory_gb_s:g} GB/s + {parts.arithmetic_ms:.2f} for {work.macs / 1e9:.2f} G "
            f"multiply-adds a picture at {device.tera_ops[shown.precision]:g} T operations/s"
        )
    yield ""
    rows = [("device", "network", "", "batch", "published ms", "predicted ms", "error", "unseen")]
    for it in model_errors():
        figure = it.figure
        unseen = _NOTHING if it.left_out_error is None else f"{it.left_out_error:+.0%}"
        times = (f"{figure.ms:.3f}", f"{it.predicted_ms:.3f}", f"{it.error:+.0%}", unseen)
        rows.append((figure.device, figure.network, figure.precision, str(figure.batch), *times))
    yield from columns(rows, left=3)
    yield "unseen: the error of a model that was fitted without this device's figures"
