"""What waits for signatures, and signing it: more people than one stand behind a release."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from snow_deploy.fleet.errors import NotSignedYetError, PublishError
from snow_deploy.fleet.keys import ROLES
from snow_runtime.update.release import read_document
from snow_runtime.update.rollout import Rollout
from snow_runtime.update.wanted import ROLLOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snow_deploy.fleet.publication import Publication


@dataclass(frozen=True)
class WaitingMetadata:
    """Metadata that wait for signatures.

    Attributes:
        role: Their role.
        version: Version that they would be.
        missing: How many have still to sign.
        changes: What they would change, in words.
    """

    role: str
    version: int
    missing: int
    changes: tuple[str, ...]


def waiting(publication: Publication) -> list[WaitingMetadata]:
    """Return what waits for signatures.

    Raises:
        PublishError: It is damaged, or files that it names are.
    """
    found = []
    for role in ROLES:
        metadata = publication.signed.waiting(role)
        if metadata is not None:
            missing = publication.signed.missing(role, metadata)
            changes = tuple(_changes(publication, role, metadata.signed))
            found.append(WaitingMetadata(role, metadata.signed.version, missing, changes))
    return found


def sign(publication: Publication) -> list[str]:
    """Sign all that waits with the keys that lie here, and publish what enough have signed.

    Returns:
        What became of it, in sentences.

    Raises:
        PublishError: Nothing waits, it was overtaken, or no key here has still to sign it.
    """
    before = waiting(publication)
    if not before:
        msg = "Nothing waits for signatures. Begin it with --draft."
        raise PublishError(msg)
    said = []
    for each in before:
        if publication.signed.add_signatures(each.role):
            said += [f"the {each.role} are signed", *_go_on(publication, each.role)]
        else:
            left = publication.signed.missing(each.role, publication.signed.waiting(each.role))
            said.append(f"the {each.role} wait for {left} more")
    return said


def _go_on(publication: Publication, role: str) -> Iterator[str]:
    """Sign what stands on metadata that count now, where its keys are here."""
    if role == "targets":
        yield from _tried("snapshot", publication.write_snapshot)
    elif role == "snapshot":
        yield from _tried("timestamp", publication.refresh)
    elif role == "root":
        for each in publication.signed.outdated():
            yield from _tried(each, partial(publication.refresh, (each,)))


def _tried(role: str, step: Callable[[], None]) -> Iterator[str]:
    try:
        step()
    except NotSignedYetError as error:
        yield str(error)
    except PublishError:
        yield (
            f"boxes take it after 'snow-deploy publish refresh --role {role}' by whoever has "
            "those keys"
        )


def _changes(publication: Publication, role: str, signed: Any) -> Iterator[str]:
    """Say what metadata would change."""
    before = publication.signed.newest(role).signed
    if role == "root":
        yield from _root_changes(before, signed)
    elif role == "targets":
        yield from _target_changes(publication, before, signed)


def _root_changes(before: Any, root: Any) -> Iterator[str]:
    for role in ROLES:
        old, new = before.roles[role], root.roles[role]
        if {*old.keyids} != {*new.keyids}:
            yield f"{role} gets the keys {', '.join(new.keyids)}"
        if old.threshold != new.threshold:
            yield f"{new.threshold} keys of {role} have to sign, {old.threshold} before"


def _target_changes(publication: Publication, before: Any, targets: Any) -> Iterator[str]:
    for path, entry in targets.targets.items():
        publication.document(path, targets)  # its file is what is to be signed
        if path not in before.targets:
            yield f"{path} is new, SHA-256 {entry.hashes['sha256']}"
        elif path != ROLLOUT and before.targets[path] != entry:
            yield f"{path} is another one, SHA-256 {entry.hashes['sha256']}"
    yield from (f"{path} goes" for path in before.targets if path not in targets.targets)
    then = publication.document(ROLLOUT, targets)
    if then is not None and then != publication.document(ROLLOUT):
        rollout = read_document(Rollout, then, "rollout")
        waves = f"{rollout.open} of {len(rollout.waves)} waves open"
        yield (
            f"rollout: {rollout.state}, coming {rollout.coming or 'nothing'}, settled "
            f"{rollout.settled or 'nothing'}, {waves}"
        )
