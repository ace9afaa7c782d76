"""Which form of each task a device has time for: accuracies, predicted and measured times."""
