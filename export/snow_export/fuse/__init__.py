"""The deltas of several tasks as one network.

::

    fuser.py          the walk over their graphs
    fused_graph.py    the graph as it is being built
    fused_layers.py   a rule for each kind of layer
    stack.py          the values of several tasks in one tensor
    movement.py       operations that only move values
    channelwise.py    layers that serve several tasks as they are
    block_layers.py   layers without the zeros
"""
