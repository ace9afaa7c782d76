"""How fast graphs and engines answer here, and what they take: `snow-deploy bench`."""
