from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from snow_deploy.errors import StoreError
from snow_deploy.models.schemes.lwf import LearningWithoutForgetting, older_task

if TYPE_CHECKING:
    from snow_deploy.models.source import Source

CRITERION = nn.CrossEntropyLoss()
TARGETS = torch.arange(3)


@pytest.fixture
def before(source: Source) -> LearningWithoutForgetting:
    """Give the network after one task of four classes."""
    network = LearningWithoutForgetting(source, 4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.005 * torch.randn_like(parameter))
    return network.eval()


@pytest.fixture
def after(source: Source, before: LearningWithoutForgetting) -> LearningWithoutForgetting:
    """Give the network that goes on from it, with a task of five classes."""
    network = LearningWithoutForgetting(source, 5, [4])
    network.follow(before.state_dict())
    return network


def test_it_goes_on_from_the_task_before(
    source: Source,
    before: LearningWithoutForgetting,
    after: LearningWithoutForgetting,
    images: Tensor,
) -> None:
    with torch.no_grad():
        old = older_task(after, source, 0).eval()(images, {})
        assert torch.equal(old, before(images, {}))
        assert after.eval()(images, {}).shape == (3, 5)
    counted = sum(parameter.numel() for parameter in before.parameters())
    assert after.count_parameters() == counted + 512 * 5 + 5
    assert not any(key.startswith("teacher") for key in after.state_dict())


def test_the_loss_of_the_paper(
    before: LearningWithoutForgetting, after: LearningWithoutForgetting, images: Tensor
) -> None:
    """Li & Hoiem's equations 2 to 4, written out: answers ** (1 / T), normalised."""
    after.eval()
    with torch.no_grad():  # the student moves, the teacher does not
        for parameter in after.parameters():
            parameter.add_(0.002 * torch.randn_like(parameter))
        pooled = {"head": after.network(images)}
        new, old = after.head(images, pooled), after.older[0](images, pooled)

        def softened(logits: Tensor) -> Tensor:
            roots = logits.double().softmax(1) ** (1 / 2)
            return roots / roots.sum(1, keepdim=True)

        taught, answered = softened(before(images, {})), softened(old)
        distance = -(taught * answered.log()).sum(1).mean()
        expected = nn.functional.cross_entropy(new, TARGETS) + distance

    loss, logits = after.loss(images, {}, TARGETS, CRITERION)

    torch.testing.assert_close(logits, new)
    torch.testing.assert_close(loss.double(), expected.double(), rtol=1e-4, atol=1e-5)


def test_the_first_task_has_nobody_to_hold_to(source: Source, images: Tensor) -> None:
    network = LearningWithoutForgetting(source, 4).eval()

    loss, logits = network.loss(images, {}, TARGETS, CRITERION)

    assert torch.equal(loss, nn.functional.cross_entropy(logits, TARGETS))


def test_all_but_the_teacher_is_trained(after: LearningWithoutForgetting, images: Tensor) -> None:
    assert after.teacher is not None
    taught = {key: value.clone() for key, value in after.teacher.named_buffers()}
    optimizer = torch.optim.SGD(after.parameters(), lr=0.1)

    for _ in range(2):
        loss, _ = after.train().loss(images, {}, TARGETS, CRITERION)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    assert all(parameter.grad is not None for parameter in after.parameters())
    assert list(after.teacher.parameters()) == []
    assert not any(layer.training for layer in after.teacher.modules())
    assert all(torch.equal(v, taught[key]) for key, v in after.teacher.named_buffers())


def test_tasks_keep_their_order_along_the_chain(
    source: Source, after: LearningWithoutForgetting, images: Tensor
) -> None:
    third = LearningWithoutForgetting(source, 6, [4, 5])

    third.follow(after.state_dict())

    with torch.no_grad():
        first, second = (older_task(third, source, n).eval()(images, {}) for n in (0, 1))
        assert torch.equal(first, older_task(after, source, 0).eval()(images, {}))
        assert torch.equal(second, after.eval()(images, {}))


@pytest.mark.parametrize("older", [[3], [4, 4]])
def test_another_networks_state_is_refused(
    source: Source, before: LearningWithoutForgetting, older: list[int]
) -> None:
    network = LearningWithoutForgetting(source, 5, older)

    with pytest.raises(StoreError, match="is of another network"):
        network.follow(before.state_dict())
