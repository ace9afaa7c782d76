"""Training: options, the Lightning module, the run and the store."""
