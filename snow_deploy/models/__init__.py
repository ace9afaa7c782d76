"""The networks: channel pooling, the frozen source, the delta."""
