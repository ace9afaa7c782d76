"""A camera application: python examples/camera_app.py snow.onnx rtsp://camera/stream."""

from __future__ import annotations

import sys

import snow_runtime


def main(path: str, uri: str, most: int | None = None) -> None:
    """Print what is seen whenever it changes."""
    before = None
    with snow_runtime.load(path) as model, snow_runtime.open_camera(uri) as camera:
        model.warmup()
        for count, frame in enumerate(camera, 1):
            result = model(frame.image, colour="bgr")
            seen = {task.name: task.label for task in result.values()}
            if seen != before:
                print(f"{frame.age_ms:.0f} ms ago: {seen}")
            before = seen
            if count == most:
                break


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
