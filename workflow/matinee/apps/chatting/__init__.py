"""Talking to a model as an agent: in a browser, or in a terminal."""
