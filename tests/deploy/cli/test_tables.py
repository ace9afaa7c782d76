from __future__ import annotations

import pytest

from snow_deploy.cli.tables import (
    billion,
    columns,
    megabytes,
    million,
    one_line,
    short_hash,
    shortened,
)


def test_columns_are_aligned() -> None:
    assert list(columns([("owner", "count"), ("a", "1")])) == ["owner  count", "a          1"]


def test_numbers_have_fitting_units() -> None:
    assert (million(25_557_032), million(9_999)) == ("25.56 M", "9,999")
    assert (billion(4_089_184_256), billion(5_535_360)) == ("4.089 G", "5.54 M")
    assert (billion(768), billion(0), billion(None)) == ("768", "0", "?")
    assert (megabytes(124_900_000), megabytes(528)) == ("124.9 MB", "528 B")
    assert (short_hash("a" * 64), short_hash(None)) == ("a" * 12, "-")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a", "b"], "a, b"),
        (["apple", "banana", "cherry"], "apple, … (2 more)"),
        (["a very long label"], "a very lo…"),
    ],
)
def test_labels_are_shortened(texts: list[str], expected: str) -> None:
    assert shortened(texts, 10) == expected


def test_a_label_with_a_line_break_stays_on_its_line() -> None:
    assert one_line("b\nc\u2028\x1b[2J\u00e9 d") == "b\\nc\\u2028\\x1b[2J\u00e9 d"
    assert shortened(["a", "b\r\nc"], 44) == "a, b\\r\\nc"
