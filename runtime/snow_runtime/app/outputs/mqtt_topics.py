"""Names as parts of a topic, and the topics of an installation."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

_SIGNS: Final = re.compile(
    "[%/+#\0-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
    + "]"
)
"""Signs that a level of a topic cannot hold, or that a broker may refuse (MQTT 5, 1.5.4)."""
_TAKEN: Final = frozenset({"status", "fleet"})
"""First levels of an installation's topics that are no camera's."""


def topic_part(name: str) -> str:
    """Return a name as one level of a topic, which no other name has.

    Signs that a level cannot hold, and `%`, are written as in addresses of the web: `%` and two
    hexadecimal digits for each byte of UTF-8, so that `c#` is `c%23`.
    """
    return _SIGNS.sub(lambda found: _in_digits(found[0]), name)


def camera_part(name: str) -> str:
    """Return a camera's name as one level of a topic; `status` and `fleet` are `%73tatus`, ..."""
    return f"{_in_digits(name[0])}{name[1:]}" if name in _TAKEN else topic_part(name)


def is_topic(text: str) -> bool:
    """Tell whether a text can be published on: levels without signs that a broker refuses."""
    own = text.partition("/")[0] in {"$SYS", "$share"}  # the broker's
    return bool(text) and not own and not _SIGNS.search(re.sub("[%/]", "", text))


def _in_digits(sign: str) -> str:
    return "".join(f"%{byte:02X}" for byte in sign.encode("utf-8", "surrogatepass"))


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
    def kept(self) -> str:
        """Which topics the broker keeps of the program, so that its next start can tidy up."""
        return f"{self.base}/status/kept"

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

    def to_json(self) -> str:
        """Return what stands on :attr:`SiteTopics.kept`: levels below the first part."""
        base = f"{self.where[1]}/"
        topics = sorted({*self.states, *self.site, *self.answers} - {f"{base}status/kept"})
        return json.dumps([each[len(base) :] for each in topics if each.startswith(base)])

    @staticmethod
    def from_json(where: tuple[str, str], text: str) -> LeftTopics:
        """Read it; what is no such list names no topics."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        names = [each for each in found if isinstance(each, str)] if type(found) is list else []
        topics = {name: f"{where[1]}/{name}" for name in names if is_topic(name)}
        of = {"states": set[str](), "site": set[str](), "answers": set[str]()}
        for name, topic in topics.items():
            _, *below = name.split("/")
            kind = "answers" if not below else "states" if below[0] == "state" else "site"
            of[kind].add(topic)
        return LeftTopics(where, **{kind: frozenset(each) for kind, each in of.items()})
