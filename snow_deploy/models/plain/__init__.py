"""Any network as a graph of torch's own layers and functions, which can be written down as text.

`hooks` makes computed weights plain, `replace_layers` puts torch's layers in the place of those
that other libraries derive from them, `tracer` reads the rest from the network's Python code, and
`exported` what that cannot follow. `rewrite` makes layers of functions that compute with weights,
`spread` and `casts` take out what only says sizes and types, and `description` writes the graph
down and builds it again.
"""
