"""The networks: the frozen source, channel pooling, the delta, the comparison schemes."""
