"""How fast conversations are made: `python benchmarks/synthesis.py [ROWS]` (default 10,000)."""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from matinee.data.synthesis import SynthesisSettings, generate  # noqa: E402
from matinee.messages.conversations import canonical_json  # noqa: E402


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    folder = ROOT / "workflow" / "resources" / "catalogue"
    start = time.perf_counter()
    size = sum(
        len(canonical_json(row.to_row()).encode())
        for row in generate(SynthesisSettings(conversations=count), folder)
    )
    seconds = time.perf_counter() - start
    print(f"{count} conversations, {size / 1e6:.1f} MB of rows: {seconds:.2f} s")
    print(f"{count / seconds:.0f} conversations/s")


if __name__ == "__main__":
    main()
