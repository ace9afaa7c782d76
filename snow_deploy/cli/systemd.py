"""What a service tells systemd: that it is ready, that it lives, that it ends."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final

from snow_runtime.update.child_program import AGENT, COUNTS, REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PER_WATCH: Final = 4  # signs of life within the time that systemd waits for one


class ServiceManager:
    """Tells systemd how the program is doing, by the protocol of `sd_notify`; else nobody.

        A word that cannot be sent is left out: the program goes on.

    Args:
        environment: Variables as systemd sets them: `NOTIFY_SOCKET`, `WATCHDOG_USEC`,
            `WATCHDOG_PID`; and `SNOW_DEPLOY_AGENT`, as an agent does, who hears more.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._agent = AGENT in environment
        self._clock = clock
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environment.get("WATCHDOG_USEC", "")
        self._every_s = int(usec) / 1e6 / _PER_WATCH if watched and usec.isdecimal() else 0.0
        self._told_s = float("-inf")

    @property
    def watches(self) -> bool:
        """Whether signs of life are waited for."""
        return bool(self._address) and self._every_s > 0

    def ready(self, status: str, refused: str | None = None) -> None:
        """Say that the service does its work, and in words what.

        Args:
            status: What it does.
            refused: Why it goes on as before, after a reload; None where it does not.
        """
        told = f"READY=1\nSTATUS={status}"
        if refused is not None and self._agent:
            told += f"\n{REFUSED}={' '.join(refused.split())}"
        self._send(told)

    def reloading(self) -> None:
        """Say that it takes up what was changed; :meth:`ready` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that it ends."""
        self._send("STOPPING=1")

    def beat(self, totals: Callable[[], tuple[int, int, float]] | None = None) -> None:
        """Give a sign of life, as often as is needed; it may be called as often as one likes.

        Args:
            totals: Function that returns what was counted: frames answered, frames failed on, and
                the sum of latencies in milliseconds.
        """
        now = self._clock()
        if self.watches and now - self._told_s >= self._every_s:
            self._told_s = now
            counted = (
                ""
                if totals is None or not self._agent
                else f"\n{COUNTS}={' '.join(map(str, totals()))}"
            )
            self._send(f"WATCHDOG=1{counted}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.settimeout(0)  # nothing waits for systemd
                line.connect(self._address)
                line.send(text.encode())
        except OSError:
            pass


def _address(given: str) -> str:
    """Return the socket's address; one that begins with `@` is in Linux' abstract name space."""
    return f"\0{given[1:]}" if given.startswith("@") else given
