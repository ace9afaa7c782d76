from __future__ import annotations

import signal
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.engine.progress import BuildProgress


def test_nested_phases_come_to_one_share() -> None:
    heard: list[tuple[str, float]] = []
    progress = BuildProgress(lambda phase, share: heard.append((phase, share)))

    progress.start("build", None, 2)
    progress.start("optimise", "build", 4)
    for step in range(4):
        assert progress.step("optimise", step)
    progress.finish("optimise")
    progress.step("build", 0)
    progress.step("build", 1)
    progress.finish("build")

    shares = [share for _, share in heard]
    assert shares == [0, 0, 0.125, 0.25, 0.375, 0.5, 0.5, 1, 1]
    assert heard[2][0] == "optimise"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["start", "step", "finish"]),
            st.sampled_from("abc"),
            st.sampled_from(["a", "b", None]),
            st.integers(-1, 5),
        )
    )
)
def test_whatever_tensorrt_reports_the_share_never_falls(
    calls: list[tuple[str, str, str | None, int]],
) -> None:
    shares: list[float] = []
    progress = BuildProgress(lambda _, share: shares.append(share))

    for call, name, parent, number in calls:
        if call == "start" and parent != name:
            progress.start(name, parent, number)
        elif call == "step":
            progress.step(name, number)
        else:
            progress.finish(name)

    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)


def test_ctrl_c_is_seen_at_the_next_step() -> None:
    progress = BuildProgress()
    before = signal.getsignal(signal.SIGINT)
    progress.start("build", None, 9)

    def build() -> None:
        with progress.interruptible():
            assert progress.step("build", 0)
            signal.raise_signal(signal.SIGINT)
            assert not progress.step("build", 1)

    with pytest.raises(KeyboardInterrupt):
        build()

    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_cannot_see_ctrl_c() -> None:
    seen = []

    def work() -> None:
        with BuildProgress().interruptible():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [signal.getsignal(signal.SIGINT)]
