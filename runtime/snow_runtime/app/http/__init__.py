"""HTTP for clients that nobody knows, beside the loop and never in its way."""
