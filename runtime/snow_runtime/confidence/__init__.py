"""How far an answer can be trusted: calibrated probabilities, least ones, sets, and familiarity."""
