"""From a flat torch.fx graph to ONNX nodes, one rule per layer or function.

graph       walks the graph, and puts the model together
emitter     what the rules write to: names, shapes and initializers
layers      rules for torch.nn layers
functions   rules for functions and tensor methods
torch_onnx  what has no rule, as torch.onnx writes it
older_opset from torch.onnx's opset to the graphs'
pools, activations   rules that layers and functions share

Shapes are read off an example pass, so every reshape is a constant and only the batch stays open.
"""

from __future__ import annotations

from snow_export.emit.emitter import EXAMPLE_BATCH, OPSET
from snow_export.emit.graph import emit
from snow_export.emit.torch_onnx import pieces_of

__all__ = ["EXAMPLE_BATCH", "OPSET", "emit", "pieces_of"]
