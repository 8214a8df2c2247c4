"""Cases, how they are played and judged, and whether a difference is real."""
