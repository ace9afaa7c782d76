from __future__ import annotations

import re

import pytest

from snow_runtime.cameras.sources.csi_pipeline import csi_pipeline
from snow_runtime.cameras.uri import parse
from snow_runtime.errors import CameraError


def elements(uri: str, *, newest: bool = True) -> list[str]:
    return csi_pipeline(parse(uri), newest=newest).split(" ! ")


def test_the_pipeline_of_the_jetsons_manual() -> None:
    assert elements("csi://0") == [
        "nvarguscamerasrc sensor-id=0",
        "video/x-raw(memory:NVMM), width=(int)1280, height=(int)720, framerate=(fraction)30/1",
        "nvvidconv flip-method=0",
        "video/x-raw, width=(int)1280, height=(int)720, format=(string)BGRx",
        "videoconvert",
        "video/x-raw, format=(string)BGR",
        "appsink drop=true max-buffers=1 sync=false",
    ]


def test_what_the_query_changes() -> None:
    parts = elements("csi://1?width=1920&height=1080&fps=60&flip=1", newest=False)

    assert parts[0] == "nvarguscamerasrc sensor-id=1"
    assert re.findall(r"\d+", parts[1]) == ["1920", "1080", "60", "1"]
    assert parts[2] == "nvvidconv flip-method=1"
    assert re.findall(r"\d+", parts[3])[:2] == ["1080", "1920"]  # turned by a quarter
    assert parts[6] == "appsink drop=false max-buffers=4 sync=false"


@pytest.mark.parametrize(
    "uri",
    ["csi://x", "csi://16", "csi://-1", "csi://0?fps=0", "csi://0?flip=8", "csi://0?width=1!x"],
)
def test_values_out_of_range(uri: str) -> None:
    with pytest.raises(CameraError, match="expected"):
        csi_pipeline(parse(uri), newest=True)
