"""TensorRT engines: built from a graph, verified, recorded, cached, and checked before loading.

One code path serves TensorRT 10.3 and later, TensorRT 11 and TensorRT-RTX. What a version offers
is asked of its module, never read from its version number.
"""
