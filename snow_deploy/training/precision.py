"""The arithmetic of training: what the options call it, and the dtype that it computes in."""

from __future__ import annotations

import torch


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return what convolutions and matrix products compute in; float32 is without autocast.

    Args:
        precision: `fp32`, `bf16`, `fp16`, or `auto`: bf16 on a CUDA device that has it, else fp32.
            A CPU that has bf16 keeps fp32, for not every network is faster in it there.
        device: Device that the training runs on.
    """
    if precision == "auto":
        has = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16" if has else "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
