"""The records that travel between stages, and the text that models read and write."""
