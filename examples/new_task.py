"""Learn a task while frames flow: python examples/new_task.py snow.onnx URI new.readout.

The graph gives its features out (`snow-deploy export --features`). The first frames are taken as
what an operator would show: the brighter half under one label, the darker half under another.
"""

from __future__ import annotations

import sys
import threading
from itertools import islice

import snow_runtime

SHOWN = 40  # frames to learn from


def main(path: str, uri: str, output: str) -> None:
    """Answer frames, fit a task aside, and stop at its first answer."""
    with (
        snow_runtime.SwappableModel(snow_runtime.load(path)) as model,
        snow_runtime.open_camera(uri) as camera,
    ):
        before = model.tasks
        shown = sorted((frame.image for frame in islice(camera, SHOWN)), key=lambda it: it.mean())
        labels = ["dark" if place < SHOWN // 2 else "bright" for place in range(SHOWN)]

        def learn() -> None:
            readout = snow_runtime.fit(model, shown, labels, name="light", colour="bgr")
            readout.write(output)
            model.add_readout(output)

        learning = threading.Thread(target=learn)
        learning.start()
        for frame in camera:
            done = not learning.is_alive()
            result = model(frame.image, colour="bgr")
            if "light" in result:
                answer = result["light"]
                print(f"{', '.join(before)} -> {', '.join(result)} at frame {frame.number}")
                print(f"{answer.label} {answer.probability:.2f}")
            if done or "light" in result:
                break
        learning.join()


if __name__ == "__main__":
    main(*sys.argv[1:4])
