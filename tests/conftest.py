"""Settings of every test: few threads, no network, no uploads. Read before torch is imported."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "disabled"
# A test that reads these must set them itself.
for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MATINEE_TERMINAL"):
    os.environ.pop(name, None)

from hypothesis import HealthCheck, settings  # noqa: E402 (after the environment is set)

# No timed assertions: a busy machine must not fail a test.
settings.register_profile(
    "matinee", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60
)
settings.load_profile("matinee")
