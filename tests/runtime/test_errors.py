from __future__ import annotations

import pytest

from snow_runtime import errors


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        (errors.GraphError, errors.SnowError),
        (errors.ManifestError, errors.GraphError),
        (errors.ReadoutError, errors.SnowError),
        (errors.InputError, errors.SnowError),
        (errors.MissingDependencyError, errors.SnowError),
    ],
)
def test_every_error_hangs_where_the_tree_draws_it(
    child: type[Exception], parent: type[Exception]
) -> None:
    assert child.__base__ is parent


def test_the_tree_names_every_class() -> None:
    classes = [name for name, value in vars(errors).items() if isinstance(value, type)]
    assert classes
    assert all(name in (errors.__doc__ or "") for name in classes)
