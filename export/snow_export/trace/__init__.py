"""From a trained network to a flat torch.fx graph in one spelling.

::

    freeze.py         the learned top-K becomes a list of indices
    spelling.py       one spelling for each operation
    in_place.py       no writes into a tensor that others read
    delta_graph.py    a frozen delta, and what two of them must share to be fused
    fold.py           norms and pooling weights go into convolutions
    join_means.py     means of equal maps become one
"""
