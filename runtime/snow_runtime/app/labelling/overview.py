"""What the labelling page is told of a collection: questions, views, people, single pictures."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.app.labelling.asked import refuse, text_of
from snow_runtime.app.labelling.people import People
from snow_runtime.app.labelling.suggested import suggest
from snow_runtime.collection.overview import collected_views, people_of
from snow_runtime.collection.records import CollectionQuestion
from snow_runtime.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from snow_runtime.app.labelling.known import Known
    from snow_runtime.app.labelling.live_readout import LiveReadouts
    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.records import CollectedPicture

_MOST_CLASSES: Final = 200
_LONGEST_CLASS: Final = 100


class Overview:
    """Looks into a collection.

    Args:
        collection: The collection.
        views: Function that gives cameras and views, by their names, of which there may be pictures
            later.
        refits: Whether readouts are fitted here.
        known: What is known of its pictures.
        readouts: What the live readouts say.
    """

    def __init__(
        self,
        collection: Collection,
        views: Callable[[], Iterable[tuple[str, str]]],
        known: Known,
        readouts: LiveReadouts,
        *,
        refits: bool,
    ) -> None:
        self._collection = collection
        self._views = views
        self._known = known
        self._readouts = readouts
        self._refits = refits
        self._people = People()

    def state(self, by: str | None) -> dict[str, Any]:
        """Return what everybody follows, as plain JSON values, and note who asks."""
        if by is not None:
            self._people.saw(by)
        questions = [
            {
                **asdict(each),
                "revision": self._collection.revision(each.name),
                "counts": asdict(self._collection.counts(each.name)),
            }
            for each in self._collection.questions()
        ]
        return {
            "questions": questions,
            "views": self._all_views(),
            "people": self._people.here(),
            "model": self._refits,
        }

    def question(self, name: Any) -> CollectionQuestion:
        """Return a question.

        Raises:
            HTTPException: There is none of this name.
        """
        found = {each.name: each for each in self._collection.questions()}
        if not isinstance(name, str) or name not in found:
            refuse("There is no such question. Load the page again.", 404)
        return found[name]

    def picture(self, number: int) -> CollectedPicture:
        """Return a picture.

        Raises:
            HTTPException: There is none of this number.
        """
        found = self._collection.pictures(ids=[number], limit=1) if 0 < number < 2**63 else []
        if not found:
            refuse("There is no such picture: it was deleted.", 404)
        return found[0]

    def pictures(self, question: CollectionQuestion, ids: Sequence[int]) -> dict[str, Any]:
        """Return what is known of some pictures, as plain JSON values."""
        collection, name = self._collection, question.name
        revision = collection.revision(name)
        found = collection.pictures(name, ids=ids, limit=len(ids))
        given: dict[int, Any] = dict(collection.labels(name))
        given.update(dict.fromkeys(collection.skipped(name)))
        people = people_of(collection.database, name, ids)
        said = suggest(found, question, self._known, self._readouts)
        shown = [
            {
                "id": each.id,
                "camera": each.camera,
                "view": each.view,
                "taken_at": each.taken_at,
                "reason": each.reason,
                "width": each.width,
                "height": each.height,
                "suggestion": said.to_dict(row),
                **({"label": given[each.id]} if each.id in given else {}),
                **({"by": people[each.id]} if each.id in people else {}),
            }
            for row, each in enumerate(found)
        ]
        return {"pictures": shown, "revision": revision}

    def add_question(self, given: dict[str, Any]) -> None:
        """Ask something new of the pictures.

        Raises:
            HTTPException: It cannot be asked so.
        """
        self._collection.questions()  # can it be read at all?
        camera, view, several = given.get("camera"), given.get("view"), given.get("several", False)
        places = {(each["camera"], each["view"] or "") for each in self._all_views()}
        if not (isinstance(camera, str | None) and isinstance(view, str | None)) or (
            (camera, view or "") not in places
        ):
            refuse("There is no such camera and view. Load the page again.")
        if not isinstance(several, bool):
            refuse("Send several, true or false.")
        labels = _classes(given.get("labels"))
        question = CollectionQuestion(text_of(given, "name"), labels, camera, view, several)
        try:
            self._collection.add_question(question)
        except CollectionError as error:
            refuse(str(error))

    def add_classes(self, question: CollectionQuestion, given: Any) -> None:
        """Give a question classes more; others may have done so since the page was loaded.

        Raises:
            HTTPException: They cannot be given.
        """
        try:
            self._collection.add_classes(question.name, _classes(given))
        except CollectionError as error:
            refuse(str(error))

    def _all_views(self) -> list[dict[str, Any]]:
        """Return the views that a question may be about: all cameras' first, then each camera's."""
        found = collected_views(self._collection.database)
        counts = {(each.camera, each.view): each.pictures for each in found}
        for place in self._views():
            counts.setdefault(place, 0)
        whole = sum(number for (_, view), number in counts.items() if not view)
        return [
            {"camera": None, "view": None, "pictures": whole},
            *(
                {"camera": camera, "view": view or None, "pictures": number}
                for (camera, view), number in sorted(counts.items())
            ),
        ]


def _classes(given: Any) -> tuple[str, ...]:
    if (
        not isinstance(given, list)
        or not all(isinstance(each, str) and len(each) <= _LONGEST_CLASS for each in given)
        or len(given) > _MOST_CLASSES
    ):
        refuse(f"Send labels, at most {_MOST_CLASSES} texts of {_LONGEST_CLASS} letters.")
    return tuple(given)
