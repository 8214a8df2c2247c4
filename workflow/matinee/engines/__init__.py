"""Engines: chat requests in, model text out."""
