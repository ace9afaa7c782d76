"""Results to an MQTT broker: python examples/mqtt_results.py snow.onnx URI mqtt://host/topic."""

from __future__ import annotations

import sys
from collections import Counter

import snow_runtime


def main(path: str, uri: str, broker: str, most: int | None = None) -> None:
    """Publish every answer; say at the end how many no broker got."""
    lost: Counter[str] = Counter()
    output = snow_runtime.Mqtt(broker, lambda what: lost.update([what]))
    with (
        snow_runtime.SwappableModel(snow_runtime.load(path)) as model,
        snow_runtime.CameraGroup([snow_runtime.open_camera(uri, name="camera")]) as cameras,
    ):
        options = snow_runtime.LoopOptions(frames=most)
        answered = snow_runtime.Loop(model, cameras, [output], options).run()
    output.close()
    print(f"{answered} answers, {lost['mqtt_lost']} of them lost")


if __name__ == "__main__":
    main(*sys.argv[1:4], most=int(sys.argv[4]) if len(sys.argv) > 4 else None)
