"""What a person who labels pictures could be spared, from features that lie there already."""
