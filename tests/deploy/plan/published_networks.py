"""The networks of the published figures, written down from their papers as ONNX graphs.

Constants have a shape and, unless values are asked for, no values: only counts are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence


class Drawing:
    """A graph of one input that grows node by node; channels and size are kept by name."""

    def __init__(self, size: int, *, values: bool = False) -> None:
        self._values = values
        self._rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.outputs: dict[str, list[str | int]] = {}
        self.channels = {"image": 3}
        self._size = size

    def node(self, kind: str, inputs: Sequence[str], channels: int, **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        self.channels[name] = channels
        return name

    def constant(self, *shape: int) -> str:
        name = f"w{len(self.constants)}"
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        if self._values:
            drawn = self._rng.normal(0, 0.05, shape).astype(np.float32)
            tensor = numpy_helper.from_array(drawn, name)
        self.constants.append(tensor)
        return name

    def conv(self, x: str, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        weight = self.constant(out, self.channels[x] // groups, kernel, kernel)
        pads = [kernel // 2] * 4
        options = {"strides": [stride] * 2, "group": groups, "pads": pads}
        return self.node("Conv", [x, weight, self.constant(out)], out, **options)

    def relu(self, x: str) -> str:
        return self.node("Relu", [x], self.channels[x])

    def add(self, x: str, y: str) -> str:
        return self.node("Add", [x, y], self.channels[x])

    def silu(self, x: str) -> str:
        gate = self.node("Sigmoid", [x], self.channels[x])
        return self.node("Mul", [x, gate], self.channels[x])

    def concat(self, *parts: str) -> str:
        return self.node("Concat", parts, sum(self.channels[part] for part in parts), axis=1)

    def pool(self, x: str, kernel: int, stride: int) -> str:
        pads = [kernel // 2] * 4
        options = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": pads}
        return self.node("MaxPool", [x], self.channels[x], **options)

    def classify(self, x: str, classes: int) -> None:
        mean = self.node("GlobalAveragePool", [x], self.channels[x])
        flat = self.node("Flatten", [mean], self.channels[x])
        weight, bias = self.constant(self.channels[x], classes), self.constant(classes)
        self.outputs[self.node("Gemm", [flat, weight, bias], classes)] = [classes]

    def model(self) -> onnx.ModelProto:
        shape: list[str | int] = ["batch", 3, self._size, self._size]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *axes])
            for name, axes in self.outputs.items()
        ]
        graph = helper.make_graph(self.nodes, "drawing", [image], outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def resnet50(*, values: bool = False) -> onnx.ModelProto:
    """Draw ResNet-50 v1.5 (He et al. 2015; the stride in the 3x3 convolution), norms folded."""
    net = Drawing(224, values=values)
    x = net.pool(net.relu(net.conv("image", 64, 7, 2)), 3, 2)
    for blocks, width, first in ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)):
        for number in range(blocks):
            stride = first if number == 0 else 1
            y = net.relu(net.conv(x, width))
            y = net.conv(net.relu(net.conv(y, width, 3, stride)), 4 * width)
            beside = net.conv(x, 4 * width, 1, stride) if number == 0 else x
            x = net.relu(net.add(y, beside))
    net.classify(x, 1000)
    return net.model()


def mobilenet_v1(*, values: bool = False) -> onnx.ModelProto:
    """Draw MobileNetV1 1.0 (Howard et al. 2017, table 1), norms folded."""
    net = Drawing(224, values=values)
    x = net.relu(net.conv("image", 32, 3, 2))
    widths = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5)
    for width, stride in (*widths, (1024, 2), (1024, 1)):
        x = net.relu(net.conv(x, net.channels[x], 3, stride, net.channels[x]))
        x = net.relu(net.conv(x, width))
    net.classify(x, 1000)
    return net.model()


def yolov8n(*, values: bool = False) -> onnx.ModelProto:
    """Draw YOLOv8n at 640 pixels, its three scales given out as they are convolved."""
    net = Drawing(640, values=values)

    def conv(x: str, out: int, kernel: int = 1, stride: int = 1) -> str:
        return net.silu(net.conv(x, out, kernel, stride))

    def c2f(x: str, out: int, blocks: int, *, shortcut: bool) -> str:
        both, half = conv(x, out), out // 2
        split = helper.make_node("Split", [both], [f"{both}a", f"{both}b"], axis=1, num_outputs=2)
        net.nodes.append(split)
        parts = [f"{both}a", f"{both}b"]
        net.channels |= dict.fromkeys(parts, half)
        for _ in range(blocks):
            y = conv(conv(parts[-1], half, 3), half, 3)
            parts.append(net.add(parts[-1], y) if shortcut else y)
        return conv(net.concat(*parts), out)

    def larger(x: str) -> str:
        scales = f"scales{len(net.nodes)}"
        values = np.array([1, 1, 2, 2], dtype=np.float32)
        net.constants.append(numpy_helper.from_array(values, scales))
        return net.node("Resize", [x, "", scales], net.channels[x], mode="nearest")

    x = c2f(conv(conv("image", 16, 3, 2), 32, 3, 2), 32, 1, shortcut=True)
    third = c2f(conv(x, 64, 3, 2), 64, 2, shortcut=True)
    fourth = c2f(conv(third, 128, 3, 2), 128, 2, shortcut=True)
    x = c2f(conv(fourth, 256, 3, 2), 256, 1, shortcut=True)
    pooled = [conv(x, 128)]
    for _ in range(3):
        pooled.append(net.pool(pooled[-1], 5, 1))
    fifth = conv(net.concat(*pooled), 256)
    middle = c2f(net.concat(larger(fifth), fourth), 128, 1, shortcut=False)
    small = c2f(net.concat(larger(middle), third), 64, 1, shortcut=False)
    middle = c2f(net.concat(conv(small, 64, 3, 2), middle), 128, 1, shortcut=False)
    large = c2f(net.concat(conv(middle, 128, 3, 2), fifth), 256, 1, shortcut=False)
    for scale in (small, middle, large):
        box = net.conv(conv(conv(scale, 64, 3), 64, 3), 64)
        kind = net.conv(conv(conv(scale, 80, 3), 80, 3), 80)
        net.outputs[net.concat(box, kind)] = [144, f"h{scale}", f"w{scale}"]
    return net.model()
