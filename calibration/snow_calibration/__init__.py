"""INT8 calibration of an exported graph: not written yet.

The package holds its place between the exporter and the runtime. It will turn an fp32 graph into
one with Quantize/Dequantize pairs and refuse it when a task loses too much accuracy. Until then it
offers nothing.
"""
