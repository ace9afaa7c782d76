"""Views and questions of a configuration file, as the loop asks them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from snow_deploy.cli.config_lines import line_of
from snow_deploy.cli.config_read import Fault, nearest
from snow_runtime.app.answers import WHOLE
from snow_runtime.app.questions.question import Question
from snow_runtime.app.questions.view import CameraView, box_of
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.cli.config_read import Reading
    from snow_deploy.cli.config_tables import QuestionTable, ViewTable
    from snow_runtime.app.states.rules import StateRules


@dataclass(frozen=True)
class AskedQuestions:
    """Questions of all cameras.

    Attributes:
        questions: The questions.
        rules: Numbers of states that a question has for itself, by its name.
        views: Views by camera, those too that nothing is asked about.
    """

    questions: tuple[Question, ...] = ()
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    views: Mapping[str, tuple[CameraView, ...]] = field(default_factory=dict)

    def rules_beside(self, rules: StateRules) -> dict[str, StateRules]:
        """Return the rules of the questions that have their own, beside those of all.

        Raises:
            InputError: They contradict each other.
        """
        return {name: _rules_of(name, rules, own) for name, own in self.rules.items()}


def _rules_of(name: str, rules: StateRules, own: Mapping[str, Any]) -> StateRules:
    try:
        return replace(rules, **own)
    except InputError as error:
        msg = f"questions.{name}, with what [states] says of all: {error}"
        raise InputError(msg) from error


def read_questions(reading: Reading) -> tuple[AskedQuestions, list[Fault]]:
    """Make questions of what a file says; return what is wrong beside them."""
    return _Questions(reading).read()


class _Questions:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._cameras = {
            name: table
            for name, table in (reading.config.cameras or {}).items()
            if table is not None
        }
        self._faults: list[Fault] = []

    def read(self) -> tuple[AskedQuestions, list[Fault]]:
        views = {name: self._views(name) for name in self._cameras}
        found: list[Question] = []
        rules: dict[str, dict[str, Any]] = {}
        for name, table in (self._reading.config.questions or {}).items():
            if table is None or not table.task:
                continue
            where = "questions", name
            if not re.fullmatch(r"[\w-]+", name):
                self._note(where, "a question's name, expected letters, digits, _ and - alone")
            own = self._rules(table, where)
            if own:
                rules[name] = own
            found += self._questions(name, table, views)
        shown = {name: tuple(each.values()) for name, each in views.items() if each}
        return AskedQuestions(tuple(found), rules, shown), self._faults

    def _views(self, camera: str) -> dict[str, CameraView]:
        found = {}
        for name, table in (self._cameras[camera].views or {}).items():
            where = "cameras", camera, "views", name
            if name in {"", WHOLE}:
                what = f"a view's name, expected one, and not {WHOLE}, the whole picture's"
                self._note(where, what)
            elif table is not None and (made := self._view(name, table, where)) is not None:
                found[name] = made
        return found

    def _view(self, name: str, table: ViewTable, where: tuple[str, ...]) -> CameraView | None:
        box, polygon = table.box, table.polygon
        if any(fault.where[: len(where)] == where for fault in self._reading.faults):
            return None  # it was said already
        if (box is None) == (polygon is None) and (box or not table.rotate):
            self._note(where, "expected a box, a polygon or at least a rotation, and not two areas")
            return None
        if box is not None and len(box) != 4:
            self._note((*where, "box"), f"{len(box)} numbers, expected left, top, right, bottom")
            return None
        if polygon is not None and (len(polygon) < 3 or any(len(each) != 2 for each in polygon)):
            self._note((*where, "polygon"), "expected three points or more, each with x and y")
            return None
        area: Any = box if polygon is None else box_of(polygon)
        points: Any = polygon
        try:
            return CameraView(name, area or CameraView().box, table.rotate or 0, points)  # type: ignore[arg-type]
        except InputError as error:
            self._note(where, str(error))
            return None

    def _questions(
        self, name: str, table: QuestionTable, views: Mapping[str, Mapping[str, CameraView]]
    ) -> list[Question]:
        where = "questions", name
        if table.camera is not None and table.camera not in views:
            what = f"there is no camera {table.camera!r}, {nearest(table.camera, views)}"
            self._note((*where, "camera"), what)
            return []
        if table.hold is not None and table.motion is None:
            self._note((*where, "hold"), "there is no motion, expected one beside it")
        found = []
        for camera in [table.camera] if table.camera is not None else list(views):
            view = CameraView() if table.view is None else views[camera].get(table.view)
            if view is None:
                known = self._cameras[camera].views or {}
                if table.view not in known:  # else it was found to be wrong before
                    what = f"the camera {camera} has no view {table.view!r}"
                    self._note((*where, "view"), f"{what}, {nearest(str(table.view), known)}")
                continue
            timing = {"seconds": table.seconds, "motion": table.motion, "hold_s": table.hold}
            given = {key: value for key, value in timing.items() if value is not None}
            try:
                found.append(Question(name, table.task, camera, view, **given))
            except InputError as error:
                self._note(where, str(error))
                break
        return found

    def _rules(self, table: QuestionTable, where: tuple[str, ...]) -> dict[str, Any]:
        """Give the question's own numbers of states, under their names in the rules."""
        numbers = {
            "dwell_s": table.dwell,
            "upper": table.upper,
            "lower": table.lower,
            "stale_s": table.stale,
        }
        own: dict[str, Any] = {key: value for key, value in numbers.items() if value is not None}
        if table.agree is not None:
            shares = re.fullmatch(r"(\d{1,6})/(\d{1,6})", table.agree)
            if shares is None:
                self._note((*where, "agree"), f"{table.agree!r} is not N/M, as in 4/5")
                return own
            own |= {"needed": int(shares[1]), "frames": int(shares[2])}
        return own

    def _note(self, where: tuple[str, ...], what: str) -> None:
        self._faults.append(Fault(where, what, line_of(self._reading.lines, where)))
