"""A model in memory: weights, devices, packed rows and their attention."""
