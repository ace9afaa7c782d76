from __future__ import annotations

import pytest

from snow_runtime.score.rate import Progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_job_says_how_fast_it_is_and_how_long_it_takes() -> None:
    clock = Clock()
    progress = Progress([100, 100, 100], {0: 100}, clock)

    assert progress.line() == "100 of 300 pictures, 1 of 3 shards"
    clock.now = 10
    progress.advanced(1, 50)
    assert progress.line() == "150 of 300 pictures, 1 of 3 shards, 5.0 images/s, 30 s left"
    clock.now = 20
    progress.finished(1, 100)
    assert progress.line() == "200 of 300 pictures, 2 of 3 shards, 5.0 images/s, 20 s left"
    clock.now = 21
    progress.finished(2, 100)
    assert progress.line() == "300 of 300 pictures, 3 of 3 shards, 9.5 images/s"
    assert progress.scored == 200


def test_shards_of_unknown_length_are_taken_for_the_mean_of_the_others() -> None:
    progress = Progress([None, None, None, 10], {}, Clock())

    assert progress.total is None
    progress.finished(0, 30)
    progress.finished(2, 50)
    assert progress.total == 10 + 3 * 40
    assert "of about 130 pictures" in progress.line()


def test_a_shard_that_is_begun_anew_or_given_up_takes_its_rows_back() -> None:
    progress = Progress([10, 10], {}, Clock())

    progress.advanced(0, 6)
    progress.advanced(0, 0)
    progress.advanced(0, 4)
    assert progress.scored == 4
    progress.failed(0)
    assert progress.scored == 0


def test_the_rate_is_that_of_the_last_minute() -> None:
    clock = Clock()
    progress = Progress([10_000], {}, clock)
    for second in range(200):
        clock.now = second
        progress.advanced(0, min(second, 100) + 10 * max(0, second - 100))

    assert progress.per_second == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize(("left", "said"), [(59, "59 s"), (90, "1 min 30 s"), (7260, "2 h 01 min")])
def test_long_times_are_told_in_minutes_and_hours(left: int, said: str) -> None:
    clock = Clock()
    progress = Progress([left + 1], {}, clock)
    clock.now = 1
    progress.advanced(0, 1)

    assert progress.line().endswith(f"{said} left")
