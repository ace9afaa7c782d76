"""Names as parts of a topic, and the topics of an installation."""

from __future__ import annotations

import re
from dataclasses import dataclass


def topic_part(name: str, own: str | None = None) -> str:
    """Return a name as one level of a topic: signs that topics give a meaning are `_`.

    Args:
        name: The name.
        own: A level that is taken; a name that is the same gets a `_` behind it.
    """
    found = re.sub(r"[/+#\0]", "_", name)
    return f"{found}_" if name == own else found


def camera_part(name: str) -> str:
    """Return a camera's name as one level of a topic; `status` is taken."""
    return topic_part(name, "status")


@dataclass(frozen=True)
class SiteTopics:
    """The topics of an installation.

    Attributes:
        base: First part of them all.
    """

    base: str

    @property
    def status(self) -> str:
        """Whether the program is there."""
        return f"{self.base}/status"

    @property
    def commands(self) -> str:
        """The filter for commands to all switches."""
        return f"{self.base}/+/switch/+/set"

    def availability(self, camera: str) -> str:
        """Whether a camera gives pictures."""
        return f"{self.base}/{camera_part(camera)}/availability"

    def state(self, camera: str, question: str, label: str | None = None) -> str:
        """The state of a question, or of one of its labels."""
        parts = [question] if label is None else [question, label]
        return "/".join([self.base, camera_part(camera), "state", *map(topic_part, parts)])

    def event(self, camera: str) -> str:
        """A camera's events."""
        return f"{self.base}/{camera_part(camera)}/event"

    def switch(self, camera: str, question: str) -> str:
        """Whether a question is asked."""
        return f"{self.base}/{camera_part(camera)}/switch/{topic_part(question)}"

    def command(self, camera: str, question: str) -> str:
        """The place of commands to a question's switch."""
        return f"{self.switch(camera, question)}/set"

    def figures(self, camera: str | None) -> str:
        """What a camera counts; None for the program."""
        part = "status" if camera is None else camera_part(camera)
        return f"{self.base}/{part}/diagnostics"


@dataclass(frozen=True)
class LeftTopics:
    """Topics on which a broker may keep what a client published.

    Attributes:
        where: The broker, and the first part of the topics.
        states: Topics of states.
        site: Those of cameras, switches, figures and discovery.
        answers: Those of last answers.
    """

    where: tuple[str, str]
    states: frozenset[str]
    site: frozenset[str]
    answers: frozenset[str]
