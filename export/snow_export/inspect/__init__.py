"""What a graph or an engine holds, and what it costs; torch is not needed.

::

    inspect_graph.py      an exported graph
    inspect_engine.py     an engine, by its record
    inspection.py         the document that both become
    cost.py               multiply-adds, parameters and bytes by owner
    owners.py             whose work each node is
    shapes.py             the shape of every tensor (shape_arithmetic.py: constants that follow)
"""
