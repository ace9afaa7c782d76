"""From a store of trained tasks to one ONNX graph: freeze, export, describe, verify."""
