"""A linear classifier on the frozen source's features: what a delta has to beat."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from snow_deploy.data.loading import make_loader
from snow_deploy.data.seeding import keyed_permutation
from snow_deploy.models.anatomy import HEAD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.data.pictures import Pictures, Splits
    from snow_deploy.models.source import Source
    from snow_runtime.graph.manifest import Preprocessing


@dataclass(frozen=True)
class Probe:
    """Logistic regression on the source's pooled features, [B, F] as they are, to logits.

    Attributes:
        best: Classifier with the L2 penalty that did best on held-out training pictures.
        cautious: Classifier with the strongest one that did as well within a standard error. Where
            pictures are few the best one knows them nearly by heart, and a network that starts from
            it has nothing left to learn on them.
    """

    best: nn.Linear
    cautious: nn.Linear


L2_CANDIDATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_HELD_OUT = 5  # one in five training pictures chooses the L2


def linear_probe_accuracy(
    source: Source,
    splits: Splits,
    preprocessing: Preprocessing,
    *,
    classifier: nn.Linear | None = None,
    seed: int = 0,
    workers: int = 2,
) -> float:
    """Fit multinomial logistic regression on pooled features; return its final accuracy, 0 to 1.

    Where any number of labels may be right there is a regression for each label, and the accuracy
    is the share of pictures and labels that are answered rightly. Features are standardised by the
    training split. The L2 penalty is chosen on a held-out fifth of the training pictures, then the
    fit is repeated on all of them; the final split has no part in it. No augmentation: L-BFGS to
    convergence on the centre crops. A classifier that `fit_probe` gave already is measured as it
    is.
    """
    if classifier is None:
        classifier = fit_probe(
            source, splits.train, len(splits.labels), preprocessing, seed=seed, workers=workers
        ).best
    inputs, targets = pooled_features(source, splits.final[1], preprocessing, workers=workers)
    return _accuracy(classifier, inputs, targets)


def fit_probe(
    source: Source,
    pictures: Pictures,
    classes: int,
    preprocessing: Preprocessing,
    *,
    seed: int = 0,
    workers: int = 2,
) -> Probe:
    """Fit the classifier of `linear_probe_accuracy` on labelled pictures, and a cautious one."""
    inputs, targets = pooled_features(source, pictures, preprocessing, workers=workers)
    return fit_probe_on(inputs, targets, classes, seed)


def fit_probe_on(inputs: Tensor, targets: Tensor, classes: int, seed: int = 0) -> Probe:
    """Fit it on features [M, F] that are there, and their targets."""
    mean, std = inputs.mean(0), inputs.std(0) + 1e-3
    inputs = (inputs - mean) / std
    order = torch.from_numpy(keyed_permutation(len(inputs), "probe", seed)).to(inputs.device)
    chooses, fits = order[: len(order) // _HELD_OUT], order[len(order) // _HELD_OUT :]

    def try_out(l2: float) -> nn.Linear:
        return fit_logistic(inputs[fits], targets[fits], classes, l2)

    def fit(l2: float) -> nn.Linear:
        fitted = fit_logistic(inputs, targets, classes, l2)
        with torch.no_grad():  # undo the standardisation, in double
            weight = fitted.weight.double() / std
            fitted.bias.copy_(fitted.bias - weight @ mean.double())
            fitted.weight.copy_(weight)
        return fitted

    best, cautious = _choose(
        {l2: try_out(l2) for l2 in L2_CANDIDATES}, inputs[chooses], targets[chooses]
    )
    fitted = {l2: fit(l2) for l2 in {best, cautious}}
    return Probe(fitted[best], fitted[cautious])


def choose_penalties(scores: Mapping[float, float], pictures: int) -> tuple[float, float]:
    """Return the penalty that did best, and the strongest within a standard error of it.

    Args:
        scores: Accuracy by penalty on held-out pictures, 0 to 1; of equal ones the weaker penalty
            is the better.
        pictures: How many those were; with none, the weakest and the strongest are returned.
    """
    if pictures == 0:
        return min(scores), max(scores)
    highest = max(scores.values())
    return _strongest_within(scores, math.sqrt(highest * (1 - highest) / pictures))


def _strongest_within(scores: Mapping[float, float], error: float) -> tuple[float, float]:
    best = max(sorted(scores), key=scores.__getitem__)
    return best, max(l2 for l2 in scores if scores[l2] >= scores[best] - error)


@torch.no_grad()
def _choose(
    fitted: Mapping[float, nn.Linear], inputs: Tensor, targets: Tensor
) -> tuple[float, float]:
    """Choose by held-out pictures: by accuracy, or by loss where any number of labels is right.

    Where a label is rare hardly a penalty changes the accuracy. Answers about one picture are not
    independent of each other, so that a standard error counts pictures.
    """
    if not targets.is_floating_point():
        scores = {l2: _accuracy(model, inputs, targets) for l2, model in fitted.items()}
        return choose_penalties(scores, len(inputs))
    if len(inputs) < 2:
        return min(fitted), max(fitted)
    losses = {l2: _label_losses(model(inputs), targets) for l2, model in fitted.items()}
    scores = {l2: -float(each.mean()) for l2, each in losses.items()}
    best = losses[max(sorted(scores), key=scores.__getitem__)]
    return _strongest_within(scores, float(best.std()) / math.sqrt(len(inputs)))


def fit_logistic(inputs: Tensor, targets: Tensor, classes: int, l2: float) -> nn.Linear:
    """Minimise mean cross-entropy + l2 * |W|^2 with L-BFGS, from zero.

    Args:
        inputs: [M, F] float32.
        targets: [M] int64; or [M, classes] float32, 0 and 1, where any number of labels may be
            right: then the labels' binary cross-entropies are added up, so that each label's
            weights are what they would be if it were alone.
        classes: Number of classes, or of labels.
        l2: The penalty's weight.
    """
    model = nn.Linear(inputs.shape[1], classes, device=inputs.device)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = _loss(model(inputs), targets)
        loss = loss + l2 * model.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return model


def pooled_features(
    source: Source, pictures: Pictures, preprocessing: Preprocessing, *, workers: int = 2
) -> tuple[Tensor, Tensor]:
    """Run the source over pictures as the device sees them: [M, F] float32, and their targets.

    Those are [M] int64; or [M, C] float32 where pictures have any number of labels.
    """
    device = next(source.network.parameters()).device
    loader = make_loader(
        pictures,
        preprocessing=preprocessing,
        train=False,
        augmentation="none",
        batch_size=64,
        seed=0,
        workers=workers,
    )
    features, targets = [], []
    for batch in loader:
        images = batch.images.to(device, memory_format=torch.channels_last)
        features.append(source.stream(images, [HEAD])[HEAD].flatten(1))
        targets.append(batch.targets.to(device))
    return torch.cat(features).float(), torch.cat(targets)


@torch.no_grad()
def _accuracy(model: nn.Linear, inputs: Tensor, targets: Tensor) -> float:
    logits = model(inputs)
    if targets.is_floating_point():
        return float(((logits >= 0) == (targets > 0)).float().mean())
    return float((logits.argmax(1) == targets).float().mean())


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        return _label_losses(logits, targets).mean()
    return nn.functional.cross_entropy(logits, targets)


def _label_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Return each picture's binary cross-entropies, added up over its labels: [M]."""
    each = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return each.sum(1)
