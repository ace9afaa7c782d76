from __future__ import annotations

import pytest

from snow_runtime.cameras.sources.video_damage import Damage


def shown(damage: Damage, *packets: int, keys: tuple[int, ...] = ()) -> list[int]:
    """Show pictures in an order; give those that are whole."""
    return [
        packet for packet in packets if not damage.spoils(packet, key=packet in keys, corrupt=False)
    ]


def test_without_an_error_all_are_whole() -> None:
    assert shown(Damage(), 0, 2, 1, 3, keys=(0,)) == [0, 2, 1, 3]


def test_an_error_spoils_what_is_decoded_after_it_up_to_a_key_picture() -> None:
    damage = Damage()
    damage.met(2)

    assert shown(damage, 0, 1, 4, 3, 5, 6, 7, keys=(0, 6)) == [0, 1, 6, 7]


def test_a_key_picture_that_was_decoded_before_an_error_does_not_end_it() -> None:
    damage = Damage()
    damage.met(5)

    assert shown(damage, 3, 4, 6, 7, keys=(3,)) == [3, 4]


def test_a_key_picture_that_is_damaged_itself_ends_nothing() -> None:
    damage = Damage()
    damage.met(3)

    assert shown(damage, 3, 4, 5, keys=(3,)) == []


def test_a_corrupt_picture_spoils_those_after_it() -> None:
    damage = Damage()

    assert damage.spoils(1, key=False, corrupt=True)
    assert shown(damage, 0, 2, 3, keys=(3,)) == [0, 3]


def test_a_lost_picture_that_comes_all_the_same_is_told_once() -> None:
    damage = Damage()
    damage.met(1)

    assert [damage.is_told(packet) for packet in (0, 1, 1)] == [False, True, False]


@pytest.mark.parametrize(("before", "counts"), [(None, 3), (6, 2)])
def test_what_a_decoder_keeps_to_itself_after_an_error_is_counted_once(
    before: int | None, counts: int
) -> None:
    damage = Damage()
    for packet in range(1, 7):
        damage.sent(packet)
    damage.met(2)
    shown(damage, 1, 4)

    assert damage.missing(before) == counts  # of packets 3, 5 and 6
    assert damage.missing(before) == 0


def test_packets_without_a_picture_are_no_loss_while_all_is_well() -> None:
    damage = Damage()
    damage.sent(1)
    damage.sent(2)
    shown(damage, 2)

    assert damage.missing(3) == 0
    damage.met(4)
    assert damage.missing() == 0
