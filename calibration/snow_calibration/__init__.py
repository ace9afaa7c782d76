"""INT8 calibration of an exported graph, with a gate.

An fp32 graph gets Quantize/Dequantize pairs where TensorRT fuses them, and is refused when a task
loses too much accuracy. `run.calibrate_and_judge` does the whole.
"""
