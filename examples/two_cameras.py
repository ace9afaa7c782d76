"""Two cameras on one model: python examples/two_cameras.py snow.onnx URI URI."""

from __future__ import annotations

import sys

import snow_runtime


def main(path: str, door: str, yard: str, most: int | None = None) -> None:
    """Answer frames that wait together as one batch."""
    cameras = [
        snow_runtime.open_camera(door, name="door"),
        snow_runtime.open_camera(yard, name="yard"),
    ]
    with snow_runtime.load(path) as model, snow_runtime.CameraGroup(cameras) as group:
        for count, frames in enumerate(group, 1):
            results = model.batch([frame.image for frame in frames], colour="bgr")
            for frame, result in zip(frames, results, strict=True):
                print(frame.camera, frame.number, result)
            if count == most:
                break


if __name__ == "__main__":
    main(*sys.argv[1:4], most=int(sys.argv[4]) if len(sys.argv) > 4 else None)
