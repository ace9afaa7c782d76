"""The device model against an independent fit, and the published networks counted again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from snow_deploy.errors import PlanError
from snow_deploy.plan.device import DEVICES, find_device
from snow_deploy.plan.device_model import DeviceModel, fit_cycles, model_errors
from snow_deploy.plan.published import NETWORKS, PUBLISHED, PublishedTime
from snow_export.inspect.launches import Workload, estimate_workload
from tests.deploy.plan.published_networks import mobilenet_v1, resnet50, yolov8n

if TYPE_CHECKING:
    import onnx

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
GENERATIONS = sorted({device.generation for device in DEVICES.values()})


def naive_ms(figure: PublishedTime, cycles: float) -> float:
    """Write the formula down once more, in seconds and plain units."""
    device, work = DEVICES[figure.device], figure.workload
    launches = work.layers * cycles / (device.clock_ghz * 1e9)
    values = work.weights + figure.batch * work.values
    memory = values * BYTES[figure.precision] / (device.memory_gb_s * 1e9)
    operations = 2 * work.macs * figure.batch
    arithmetic = operations / (device.tera_ops[figure.precision] * 1e12)
    return 1e3 * (launches + memory + arithmetic)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_fit_is_the_least_sum_of_squared_relative_errors(generation: str) -> None:
    figures = [it for it in PUBLISHED if DEVICES[it.device].generation == generation]

    def loss(cycles: float) -> float:
        return sum((naive_ms(it, cycles) / it.ms - 1) ** 2 for it in figures)

    reference = minimize_scalar(loss, bounds=(0, 1e6), method="bounded", options={"xatol": 1e-3})
    found = fit_cycles(figures)

    assert found == pytest.approx(reference.x, rel=1e-4)
    device = DEVICES[figures[0].device]
    assert DeviceModel(device).cycles_per_layer == found
    for figure in figures:
        predicted = DeviceModel(DEVICES[figure.device]).predict(
            figure.workload, figure.precision, figure.batch
        )
        assert predicted.ms == pytest.approx(naive_ms(figure, found))


def test_known_cycles_are_found_again() -> None:
    made = [
        PublishedTime(it.device, it.network, it.precision, it.batch, naive_ms(it, 4321.0), "")
        for it in PUBLISHED
    ]

    for device in DEVICES.values():
        assert DeviceModel(device, made).cycles_per_layer == pytest.approx(4321)
    assert max(abs(it.error) for it in model_errors(made)) < 1e-9


def test_a_layer_never_costs_less_than_nothing() -> None:
    figure = PUBLISHED[0]
    fast = PublishedTime(figure.device, figure.network, figure.precision, figure.batch, 1e-3, "")

    assert fit_cycles([fast]) == 0
    with pytest.raises(PlanError, match="no published time"):
        fit_cycles([])


def test_every_figure_is_held_against_the_model_also_unseen() -> None:
    errors = {(it.figure.device, it.figure.batch, it.figure.precision): it for it in model_errors()}

    assert [it.figure for it in model_errors()] == list(PUBLISHED)
    own = errors["agx-orin-64gb", 1, "int8"]
    assert own.error == pytest.approx(own.predicted_ms / 0.636 - 1)
    others = [
        it
        for it in PUBLISHED
        if DEVICES[it.device].generation == "Ampere and Ada" and it.device != "agx-orin-64gb"
    ]
    unseen = naive_ms(own.figure, fit_cycles(others)) / 0.636 - 1
    assert own.left_out_error == pytest.approx(unseen)
    assert errors["tx2", 1, "fp16"].left_out_error is None  # no other device of its generation


def test_the_prediction_is_linear_in_the_workload() -> None:
    model = DeviceModel(DEVICES["orin-nx-16gb"])
    parts = [Workload(3, 4e6, 5e5, 6e5), Workload(7, 1e7, 2e5, 9e5)]

    whole = model.predict(parts[0] + parts[1], "int8", 4).ms

    assert whole == pytest.approx(sum(model.predict(it, "int8", 4).ms for it in parts))
    assert model.predict(parts[1] + parts[0] - parts[0], "fp16") == model.predict(parts[1], "fp16")


def test_a_precision_that_the_device_lacks_is_refused() -> None:
    with pytest.raises(PlanError, match="computes in fp32, fp16, and int8 was asked for"):
        DeviceModel(DEVICES["tx2"]).predict(Workload(1, 1, 1, 1), "int8")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("orin-nx-16gb", "orin-nx-16gb"),
        ("Jetson Orin NX 16 GB", "orin-nx-16gb"),
        ("jetson-agx-orin-64gb", "agx-orin-64gb"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA Jetson AGX Orin 64GB", "agx-orin-64gb"),
        ("TX2", "tx2"),
    ],
)
def test_a_device_is_found_by_its_name(text: str, name: str) -> None:
    assert find_device(text).name == name


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("orin-nano", "orin-nano-8gb-super"),
        ("orin-nx", "orin-nx-16gb"),
        ("agx-xavior", "agx-xavier"),
    ],
)
def test_an_unknown_device_names_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(PlanError, match=f"Did you mean '{nearest}'?") as caught:
        find_device(text)
    assert all(name in str(caught.value) for name in DEVICES)


def test_a_name_like_none_names_all_of_them() -> None:
    with pytest.raises(PlanError) as caught:
        find_device("?")
    assert "Did you mean" not in str(caught.value)
    assert "--bench" in str(caught.value)


@pytest.mark.parametrize(
    ("network", "drawn", "parameters", "macs", "by"),
    [  # what their papers say: He et al. 3.8 to 4.1 G; Howard et al.; the repository of the figure
        ("ResNet-50 224 px", resnet50(), 25.56e6, 4.09e9, 0.01),
        ("MobileNetV1 1.0 224 px", mobilenet_v1(), 4.2e6, 569e6, 0.01),
        ("YOLOv8n 640 px", yolov8n(), 3.2e6, 8.7e9 / 2, 0.02),
    ],
)
def test_a_published_network_is_counted_from_its_drawing(
    network: str, drawn: onnx.ModelProto, parameters: float, macs: float, by: float
) -> None:
    known, found = NETWORKS[network], estimate_workload(drawn)

    assert (known.macs, known.weights, known.values) == (found.macs, found.weights, found.values)
    assert known.weights == pytest.approx(parameters, rel=by)
    assert known.macs == pytest.approx(macs, rel=by)
    assert known.layers == pytest.approx(found.layers, rel=0.03)


@pytest.mark.tensorrt
@pytest.mark.parametrize(
    ("network", "draw"),
    [("MobileNetV1 1.0 224 px", mobilenet_v1), ("YOLOv8n 640 px", yolov8n)],
)
def test_a_published_network_is_compiled_into_its_layers(network: str, draw: object) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    import onnx as onnx_package

    from snow_runtime.engine.build import compile_graph
    from snow_runtime.graph.half_precision import to_fp16

    assert callable(draw)
    model = onnx_package.shape_inference.infer_shapes(draw(values=True))
    layers = compile_graph(to_fp16(model).SerializeToString()).compute_layers

    assert len(layers) == pytest.approx(NETWORKS[network].layers, rel=0.05)


def test_the_data_sheets_agree_with_each_other() -> None:
    """Dense INT8 is twice fp16 on all of these GPUs that have it; the clocks are of this age."""
    for device in DEVICES.values():
        if "int8" in device.tera_ops:
            ratio = device.tera_ops["int8"] / device.tera_ops["fp16"]
            assert ratio == pytest.approx(2, rel=0.02)
        assert 0.5 < device.clock_ghz < 2.5
        assert np.isfinite(device.memory_gb_s)
    assert {it.device for it in PUBLISHED} == set(DEVICES)
