"""A plan as plain JSON values. Each time is called `predicted` or `measured`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snow_deploy.plan.device_model import DeviceModel, model_errors

if TYPE_CHECKING:
    from snow_deploy.plan.device import Device
    from snow_deploy.plan.plan import Plan


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return all of a plan."""
    budget, device = plan.request.budget, plan.request.device
    return {
        "device": None if device is None else _device(device),
        "budget": {"ms": budget.ms, "pictures": budget.cameras},
        "accuracy_basis": plan.request.basis,
        "source_sha256": plan.candidates.source_sha256,
        "tasks": _tasks(plan),
        "best": None if plan.best is None else plan.best.to_dict(),
        "frontier": [each.to_dict() for each in plan.frontier],
        "layers_from": plan.layers_from,
        "composed_error": plan.composed_error,
        "model_errors": [] if device is None else _errors(),
        "notes": list(plan.notes),
    }


def _device(device: Device) -> dict[str, Any]:
    return {
        "name": device.name,
        "title": device.title,
        "generation": device.generation,
        "clock_ghz": device.clock_ghz,
        "memory_gb_s": device.memory_gb_s,
        "tera_ops": dict(device.tera_ops),
        "capability": device.capability,
        "compiled_for": device.target,
        "cycles_per_layer": DeviceModel(device).cycles_per_layer,
    }


def _tasks(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place, task in enumerate(plan.candidates.tasks):
        found[task.name] = {
            variant.name: {
                "form": variant.form,
                "sha256": variant.record.fingerprint(),
                "accuracy": {
                    precision: None if (it := rows[place][number]) is None else it.to_dict()
                    for precision, rows in plan.accuracies.items()
                },
            }
            for number, variant in enumerate(task.variants)
        }
    return found


def _errors() -> list[dict[str, Any]]:
    return [
        {
            "device": it.figure.device,
            "network": it.figure.network,
            "precision": it.figure.precision,
            "batch": it.figure.batch,
            "published_ms": it.figure.ms,
            "published_in": it.figure.origin,
            "predicted_ms": it.predicted_ms,
            "error": it.error,
            "error_without_this_device": it.left_out_error,
        }
        for it in model_errors()
    ]
