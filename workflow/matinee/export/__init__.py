"""From an adapter to a model that others can load, and the proof that it is the same."""
