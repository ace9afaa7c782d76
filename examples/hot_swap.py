"""Exchange the model while frames flow: python examples/hot_swap.py old.onnx new.onnx URI."""

from __future__ import annotations

import sys
import threading

import snow_runtime


def main(old: str, new: str, uri: str) -> None:
    """Answer frames, and load the new model aside; stop at its first answer."""
    with (
        snow_runtime.SwappableModel(snow_runtime.load(old)) as model,
        snow_runtime.open_camera(uri) as camera,
    ):
        before, swapping = model.tasks, None
        for frame in camera:
            result = model(frame.image, colour="bgr")
            if swapping is None:
                swapping = threading.Thread(target=model.swap, args=(new,))
                swapping.start()
            if tuple(result) != before or not swapping.is_alive():
                print(f"{', '.join(before)} -> {', '.join(model.tasks)} at frame {frame.number}")
                break
        if swapping is not None:
            swapping.join()


if __name__ == "__main__":
    main(*sys.argv[1:4])
