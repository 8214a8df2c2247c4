"""A clone whose profile is filled in for the SLURM of the tests."""

from __future__ import annotations

import re
from pathlib import Path

from clones import Clone, copy_repository


def site_clone(folder: Path) -> Clone:
    """A clone in which the block of the profile that is the site's is uncommented."""
    clone = copy_repository(folder)
    profile = clone.folder / "slurm/config.yaml"
    text = profile.read_text(encoding="utf-8")
    before, block, after = re.split(r"^# -+(?: Your site.*)?$\n?", text, flags=re.M)
    block = re.sub(r"^# ", "", block, flags=re.M)
    # What this SLURM has not: models of GPUs, and accounts.
    block = re.sub(r"^.*(gpu_model|slurm_account).*\n", "", block, flags=re.M)
    profile.write_text(before + block + after, encoding="utf-8")
    return clone
