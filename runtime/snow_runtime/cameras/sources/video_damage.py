"""Which pictures of a video are built on data that are damaged."""

from __future__ import annotations


class Damage:
    """Follows damage from picture to picture.

    Video is not decoded in the order in which it is shown. So packets are numbered in the order in
    which they come, and a picture goes by its packet's number: an error leaves the pictures before
    it whole, also those that are shown after it was met. It ends with a picture that needs no other
    one; pictures that are shown before that one are built on older ones too.
    """

    def __init__(self) -> None:
        self._errors: set[int] = set()  # in packets behind the last whole key picture
        self._told: set[int] = set()  # of those, whose pictures the caller knows to be lost
        self._waiting: set[int] = set()  # packets whose pictures have not come

    def sent(self, packet: int) -> None:
        """Enter a packet that the decoder gets."""
        self._waiting.add(packet)

    def met(self, packet: int) -> None:
        """Enter an error in a packet, whose picture is lost by that."""
        self._errors.add(packet)
        self._told.add(packet)
        self._waiting.discard(packet)

    def spoils(self, packet: int, *, key: bool, corrupt: bool) -> bool:
        """Tell whether the next picture that is shown is damaged.

        Args:
            packet: The number of its packet.
            key: Whether it needs no other picture.
            corrupt: Whether the decoder says that it is damaged itself.
        """
        self._waiting.discard(packet)
        if corrupt:
            self._errors.add(packet)
        elif key and packet not in self._errors:
            self._errors = {error for error in self._errors if error > packet}
        return any(error <= packet for error in self._errors)

    def is_told(self, packet: int) -> bool:
        """Tell, once, whether a picture that came all the same had an error entered by `met`."""
        told = packet in self._told
        self._told.discard(packet)
        return told

    def missing(self, before: int | None = None) -> int:
        """Count, once, the pictures that a decoder kept to itself since there was an error.

        Args:
            before: The packet of a key picture that is about to be shown; None at the end.
        """
        gone = {packet for packet in self._waiting if before is None or packet < before}
        self._waiting -= gone
        if not self._errors:
            return 0  # some packets hold no picture to be shown
        return sum(packet > min(self._errors) for packet in gone)
