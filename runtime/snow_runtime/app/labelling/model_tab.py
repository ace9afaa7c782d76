"""The page's second tab: how good a question's readouts are, and which one answers."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from snow_runtime.app.labelling.asked import number_of, refuse
from snow_runtime.errors import SnowError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_runtime.app.labelling.refitting import Refitting

_LARGEST_VERSION = 10**6
_SHORTEST_SHADOW_S, _LONGEST_SHADOW_S = 10, 30 * 86400


class ModelTab:
    """Asks what fits readouts.

    Args:
        refit: What does; it may lack some of what :class:`Refitting` names, which is then not
            shown.
    """

    def __init__(self, refit: Refitting) -> None:
        self._refit = refit

    def look(self, question: str) -> dict[str, Any]:
        """Return all that is known of a question's readouts, as plain JSON values."""
        found: dict[str, Any] = {"can": self._can}
        if self._offers("versions"):
            found["versions"] = [plain(each) for each in self._refit.versions(question)]
        for part in ("status", "report"):
            if self._offers(part):
                found[part] = plain(getattr(self._refit, part)(question))
        return found

    def act(self, what: str, question: str, given: Mapping[str, Any]) -> None:
        """Do what was pressed.

        Raises:
            HTTPException: It cannot be done.
        """
        if what not in self._can:
            refuse("This is not offered here.", 404)
        try:
            if what == "fit":
                self._refit.request(question)
                return
            number = number_of(given, "number", least=1, most=_LARGEST_VERSION)
            if what == "back":
                self._refit.go_back(question, number)
                return
            least, most = _SHORTEST_SHADOW_S, _LONGEST_SHADOW_S
            seconds = number_of(given, "seconds", least=least, most=most)
            self._refit.shadow(question, number, float(seconds))
        except SnowError as error:
            refuse(str(error), 409)

    @property
    def _can(self) -> list[str]:
        names = {"fit": "request", "back": "go_back", "shadow": "shadow"}
        return [what for what, name in names.items() if self._offers(name)]

    def _offers(self, name: str) -> bool:
        return callable(getattr(self._refit, name, None))


def plain(value: Any) -> Any:
    """Return plain JSON values: numbers that are none become null, dataclasses objects."""
    if callable(getattr(value, "to_dict", None)):
        value = value.to_dict()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    if hasattr(value, "items"):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if hasattr(value, "tolist"):  # NumPy's
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
