from __future__ import annotations

from typing import Any

import pytest

from snow_runtime.cameras import CameraOptions


@pytest.mark.parametrize(
    "values",
    [
        {"queue_frames": 0},
        {"attempts": 0},
        {"stall_s": 0},
        {"open_timeout_s": -1},
        {"close_timeout_s": float("inf")},
        {"stall_s": float("nan")},
    ],
)
def test_values_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        CameraOptions(**values)


@pytest.mark.parametrize(
    "given", ["", "ab", "zz" * 32, "ab" * 31, "ab" * 33, "sha256:" + "ab" * 32]
)
def test_a_fingerprint_that_is_none(given: str) -> None:
    with pytest.raises(ValueError, match="expected the 64 hexadecimal"):
        CameraOptions(tls_fingerprint=given)
