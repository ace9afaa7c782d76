from __future__ import annotations

import itertools

import numpy as np
import pytest

from snow_deploy.data.demo import DemoPictures, read_demo
from snow_deploy.errors import DataError

QUESTIONS = ("shape", "texture", "digit", "colour", "scene")
COUNT = 3600


def answers(question: str, count: int = COUNT, split: str = "train") -> list[int]:
    pictures = DemoPictures(question, split, count, 64, 0)
    return [pictures.target(index) for index in range(count)]


def test_sizes_and_labels() -> None:
    splits = read_demo("shape")
    assert (len(splits.train), len(splits.final[1])) == (4000, 1000)
    assert splits.val is None
    assert splits.augmentation == "none"
    assert [len(read_demo(name).labels) for name in QUESTIONS] == [6, 6, 10, 6, 12]
    for name in QUESTIONS:
        labels = read_demo(name).labels
        assert len(set(labels)) == len(labels)


def test_all_questions_look_at_the_same_pictures() -> None:
    for index in range(5):
        pictures = {
            read_demo(question, {"size": "48"}).train.load(index).tobytes()
            for question in QUESTIONS
        }
        assert len(pictures) == 1


def test_pictures_are_repeatable_and_all_different() -> None:
    def pictures(split: str, seed: str) -> list[bytes]:
        splits = read_demo("digit", {"seed": seed, "size": "32", "train": "20", "test": "20"})
        part = splits.train if split == "train" else splits.final[1]
        return [part.load(index).tobytes() for index in range(20)]

    all_of_them = [*pictures("train", "0"), *pictures("test", "0"), *pictures("train", "1")]
    assert len(set(all_of_them)) == 60
    assert all_of_them[:20] == pictures("train", "0")


def test_the_first_pictures_never_change() -> None:
    pictures = {question: read_demo(question).train for question in QUESTIONS}
    first = [[pictures[name].target(index) for name in QUESTIONS] for index in range(4)]
    assert first == [
        [3, 4, 7, 3, 7],
        [2, 5, 4, 2, 6],
        [3, 5, 4, 2, 6],
        [3, 1, 3, 4, 5],
    ]
    means = np.asarray(pictures["shape"].load(0), dtype=np.float64).mean(axis=(0, 1))
    np.testing.assert_allclose(means, [93.75, 81.61, 109.94], atol=0.05)


def test_answers_are_even_and_independent() -> None:
    by_question = [answers(name) for name in QUESTIONS[:4]]
    for (first, n), (second, m) in itertools.combinations(
        zip(by_question, (6, 6, 10, 6), strict=True), 2
    ):
        table = np.zeros((n, m))
        np.add.at(table, (first, second), 1)
        expected = COUNT / (n * m)
        chi_squared = ((table - expected) ** 2 / expected).sum()
        freedom = n * m - 1
        assert chi_squared < freedom + 5 * np.sqrt(2 * freedom)  # about five standard deviations


def test_the_scene_follows_from_the_three_answers() -> None:
    labels = {name: read_demo(name).labels for name in QUESTIONS}
    families: dict[str, set[str]] = {}
    given = [answers(name, 500) for name in QUESTIONS]
    for shape, texture, digit, _, scene in zip(*given, strict=True):
        words = labels["scene"][scene].split()
        names = (labels["shape"][shape], labels["texture"][texture], labels["digit"][digit])
        for word, name in zip(words, names, strict=True):
            families.setdefault(word, set()).add(name)
    assert families == {
        "round": {"circle", "heart"},
        "angular": {"square", "triangle"},
        "spiky": {"star", "cross"},
        "lined": {"stripes", "zigzag", "checks"},
        "spotted": {"dots", "rings", "blotches"},
        "looped": set("04689"),
        "open": set("12357"),
    }


def test_train_and_test_have_their_own_answers() -> None:
    assert answers("digit", 50) != answers("digit", 50, split="test")


def test_a_picture_has_a_name_and_no_other_place() -> None:
    train = read_demo("shape", {"train": "3"}).train
    assert train.name(2) == "demo-train-seed0-64px/2"
    for index in (3, -1):
        with pytest.raises(IndexError):
            train.load(index)


@pytest.mark.parametrize(
    ("question", "options", "message"),
    [
        ("size", {}, r'no demo data "size", expected one of demo:shape, demo:texture'),
        ("shape", {"sise": "3"}, "has no option sise, expected some of train, test, size, seed"),
        ("shape", {"size": "16"}, 'option size of demo data is "16", expected .* 32 to 1024'),
        ("shape", {"size": "64.0"}, 'size of demo data is "64.0"'),
        ("shape", {"train": "1"}, 'train of demo data is "1"'),
        ("shape", {"train": "²"}, "train of demo data"),
        ("shape", {"test": "0"}, "test of demo data"),
        ("shape", {"seed": "-1"}, "seed of demo data"),
        ("shape", {"seed": ""}, 'seed of demo data is ""'),
    ],
)
def test_what_does_not_exist_is_explained(
    question: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_demo(question, options)
