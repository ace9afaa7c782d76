"""`snow-deploy run` in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any


class Running:
    """Started at once; its lines can be read, and it can be told to stop."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "snow_deploy", "run", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def stop(self, number: int) -> tuple[float, str]:
        """Send a signal; give the seconds until it ended and what it said on standard error."""
        began = time.monotonic()
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=30)
        return time.monotonic() - began, said

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
