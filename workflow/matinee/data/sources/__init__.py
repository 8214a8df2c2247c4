"""Where models and data come from: hubs, wheels, addresses, this machine; pinned and verified."""

from matinee.data.sources.fetching import (
    fetch_bfcl,
    fetch_dataset,
    fetch_model,
    missing_sources,
    require_sources,
)

__all__ = ["fetch_bfcl", "fetch_dataset", "fetch_model", "missing_sources", "require_sources"]
