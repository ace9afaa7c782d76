from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from snow_runtime.app.throttled_logger import ThrottledLogger

if TYPE_CHECKING:
    import pytest


def test_the_first_at_once_then_one_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    throttled = ThrottledLogger(logging.getLogger("test"), clock=lambda: now[0])

    for second in range(130):
        now[0] = 100.0 + second
        throttled.warning(f"no {second}")

    assert [record.getMessage() for record in caplog.records] == [
        "no 0",
        "no 60 (59 more since the last time)",
        "no 120 (59 more since the last time)",
    ]


def test_errors_say_where(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    throttled = ThrottledLogger(logging.getLogger("test"), clock=lambda: now[0])

    for second in (0.0, 1.0, 59.0, 61.0):
        now[0] = second
        throttled.error("it broke", ZeroDivisionError("oops"))

    assert [record.getMessage() for record in caplog.records] == [
        "it broke",
        "it broke (2 more since the last time)",
    ]
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert "ZeroDivisionError: oops" in caplog.text
