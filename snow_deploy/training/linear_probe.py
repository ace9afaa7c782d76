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

    Features are standardised by the training split. The L2 penalty is chosen on a held-out
    fifth of the training pictures, then the fit is repeated on all of them; the final split
    has no part in it. No augmentation: L-BFGS to convergence on the centre crops. A classifier
    that `fit_probe` gave already is measured as it is.
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
    mean, std = inputs.mean(0), inputs.std(0) + 1e-3
    inputs = (inputs - mean) / std
    order = torch.from_numpy(keyed_permutation(len(inputs), "probe", seed)).to(inputs.device)
    chooses, fits = order[: len(order) // _HELD_OUT], order[len(order) // _HELD_OUT :]

    def score(l2: float) -> float:
        model = fit_logistic(inputs[fits], targets[fits], classes, l2)
        return _accuracy(model, inputs[chooses], targets[chooses])

    def fit(l2: float) -> nn.Linear:
        fitted = fit_logistic(inputs, targets, classes, l2)
        with torch.no_grad():  # undo the standardisation, in double
            weight = fitted.weight.double() / std
            fitted.bias.copy_(fitted.bias - weight @ mean.double())
            fitted.weight.copy_(weight)
        return fitted

    best, cautious = choose_penalties({l2: score(l2) for l2 in L2_CANDIDATES}, len(chooses))
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
    best = max(sorted(scores), key=scores.__getitem__)
    highest = scores[best]
    error = math.sqrt(highest * (1 - highest) / pictures)
    return best, max(l2 for l2 in scores if scores[l2] >= highest - error)


def fit_logistic(inputs: Tensor, targets: Tensor, classes: int, l2: float) -> nn.Linear:
    """Minimise mean cross-entropy + l2 * |W|^2 with L-BFGS, from zero.

    Args:
        inputs: [M, F] float32.
        targets: [M] int64.
        classes: Number of classes.
        l2: The penalty's weight.
    """
    model = nn.Linear(inputs.shape[1], classes, device=inputs.device)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss = loss + l2 * model.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return model


def pooled_features(
    source: Source, pictures: Pictures, preprocessing: Preprocessing, *, workers: int = 2
) -> tuple[Tensor, Tensor]:
    """Run the source over pictures as the device sees them: [M, F] float32 and [M] int64."""
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
    return float((model(inputs).argmax(1) == targets).float().mean())
