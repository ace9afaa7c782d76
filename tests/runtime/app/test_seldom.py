from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from snow_runtime.app.seldom import Seldom

if TYPE_CHECKING:
    import pytest


def test_the_first_at_once_then_one_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    seldom = Seldom(logging.getLogger("test"), clock=lambda: now[0])

    for second in range(130):
        now[0] = 100.0 + second
        seldom.warning(f"no {second}")

    assert [record.getMessage() for record in caplog.records] == [
        "no 0",
        "no 60 (59 more since the last time)",
        "no 120 (59 more since the last time)",
    ]
