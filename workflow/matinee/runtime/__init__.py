"""A stage as a process that can die: errors, records, progress, locks."""
