"""Train a delta in a loop of one's own: python examples/own_loop.py PHOTOS STORE snow.onnx.

PHOTOS has a folder for each class. The source here is torchvision's ResNet-18 with the weights
that the fourth argument names: `imagenet` downloads them, `random` is for trying this out.
"""

from __future__ import annotations

import sys

import torch
import torchvision
from torch.utils.data import DataLoader

import snow_deploy as snow

EPOCHS, BATCH = 5, 16


def main(photos: str, folder: str, path: str, weights: str = "imagenet", size: str = "224") -> None:
    """Train on a folder of photos, keep the delta in a store, and export it."""
    named = None if weights == "random" else "IMAGENET1K_V1"
    network = torchvision.models.resnet18(weights=named)
    source = snow.Source.of(network, image_size=int(size))  # or any other nn.Module
    splits = snow.open_data(f"imagefolder:{photos}")
    training = snow.make_transform(source.preprocessing, train=True, augmentation="photo")
    loader = DataLoader(snow.PictureDataset(splits.train, training), BATCH, shuffle=True)

    delta = snow.Delta(source, len(splits.labels))
    snow.begin_linear(delta, source, loader)
    optimizer = torch.optim.AdamW(delta.parameter_groups(1e-3, pooling_lr_scale=10))
    criterion = torch.nn.CrossEntropyLoss()
    for epoch in range(EPOCHS):
        delta.explore(max(0.0, 1 - epoch / 2))  # later the choice of channels settles
        for images, targets in loader:
            loss = criterion(delta(images, source(images)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}  loss {loss.item():.3f}")

    store = snow.Store(folder)
    store.add("photos", delta, splits=splits, trained_by=f"AdamW, {EPOCHS} epochs")
    (parity,) = snow.export(store, ["photos"], path)
    print(f"{path}: {', '.join(splits.labels)}, within {parity.max_error:.1g} of torch")


if __name__ == "__main__":
    main(*sys.argv[1:6])
