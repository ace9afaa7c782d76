"""Asking a server of the V2 inference protocol, such as Triton, in the place of a graph here.

::

    address.py        grpc://HOST:PORT/MODEL/VERSION, and how to ask there
    connection.py     calls by gRPC, and what their failures mean
    session.py        a model there as a session: a batch in, logits out

The server's model has to be one of `snow-deploy triton`, whose config carries the manifest.
Pictures are prepared here by it, so that the answers are those of the graph.
"""
