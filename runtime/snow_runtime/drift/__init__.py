"""Whether what cameras show has left what was trained on."""
