"""From sources to the token rows of a variant."""
