"""The stages of the workflow: each reads files, writes files, and leaves a `run.json`."""
