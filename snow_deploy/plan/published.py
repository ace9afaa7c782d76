"""Published times of devices, which the device model is fitted to and held against.

Each is in the public place that it names. MLPerf's are means of the closed division's logs by
NVIDIA, `MultiStream` of 8 pictures; their precision is that of the submissions, INT8.

What the networks have to do was counted as this project counts its own graphs, layers as
TensorRT-RTX 1.7 compiles them in half precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snow_export.inspect.launches import Workload

if TYPE_CHECKING:
    from snow_runtime.graph.manifest import Precision


@dataclass(frozen=True)
class PublishedTime:
    """One figure.

    Attributes:
        device: Name of the device.
        network: Name of the network.
        precision: Precision that it ran in.
        batch: Pictures of a run.
        ms: Time of a run, in milliseconds.
        origin: Where it is published.
    """

    device: str
    network: str
    precision: Precision
    batch: int
    ms: float
    origin: str

    @property
    def workload(self) -> Workload:
        """What the network has to do."""
        return NETWORKS[self.network]


NETWORKS: Final = {
    "ResNet-50 224 px": Workload(57, 4_089_184_256, 25_530_472, 28_404_712),
    "MobileNetV1 1.0 224 px": Workload(30, 568_740_352, 4_221_032, 10_238_952),
    "YOLOv8n 640 px": Workload(95, 4_371_456_000, 3_151_896, 58_336_000),
}

_RESNET, _MOBILENET, _YOLO = NETWORKS
_V1, _V2, _V3 = (f"mlcommons/inference_results_v{version}" for version in ("1.1", "2.0", "3.1"))
_TX2: Final = "NVIDIA-AI-IOT/tf_to_trt_image_classification"
_NANO: Final = "hokwangchoi/jetson-orin-nano-benchmarks"

PUBLISHED: Final = (
    PublishedTime("l4", _RESNET, "int8", 1, 0.346, _V3),
    PublishedTime("l4", _RESNET, "int8", 8, 0.808, _V3),
    PublishedTime("a2", _RESNET, "int8", 1, 0.700, _V2),
    PublishedTime("a2", _RESNET, "int8", 8, 3.152, _V2),
    PublishedTime("agx-orin-64gb", _RESNET, "int8", 1, 0.636, _V3),
    PublishedTime("agx-orin-64gb", _RESNET, "int8", 8, 2.164, _V3),
    PublishedTime("orin-nx-16gb", _RESNET, "int8", 1, 1.079, _V3),
    PublishedTime("orin-nx-16gb", _RESNET, "int8", 8, 5.080, _V3),
    PublishedTime("orin-nano-8gb-super", _YOLO, "int8", 1, 3.49, _NANO),
    PublishedTime("orin-nano-8gb-super", _YOLO, "fp16", 1, 4.43, _NANO),
    PublishedTime("agx-xavier", _RESNET, "int8", 1, 1.820, _V1),
    PublishedTime("xavier-nx", _RESNET, "int8", 1, 2.426, _V1),
    PublishedTime("tx2", _RESNET, "fp16", 1, 15.7, _TX2),
    PublishedTime("tx2", _RESNET, "fp32", 1, 27.1, _TX2),
    PublishedTime("tx2", _MOBILENET, "fp16", 1, 12.9, _TX2),
    PublishedTime("tx2", _MOBILENET, "fp32", 1, 12.9, _TX2),
)
