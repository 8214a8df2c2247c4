"""python scripts/blind_questions.py [--scenarios FOLDER] [--seed N]

Prints what the users say in a folder of scenarios and nothing else, in random order and numbered:
for labelling the cases a second time without seeing ids, categories or accepted calls. The ids go
to `--key`, a file that stays closed until the labels are written.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import yaml

RESOURCES = Path(__file__).parents[1] / "workflow" / "resources"


def main() -> None:
    """Prints the questions and writes the key."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", type=Path, default=RESOURCES / "scenarios")
    parser.add_argument("--key", type=Path, default=Path("key.json"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    files = sorted(arguments.scenarios.glob("*.yaml"))
    loaded = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]
    cases = [case for content in loaded for case in content.get("cases") or []]
    random.Random(arguments.seed).shuffle(cases)
    for number, case in enumerate(cases, start=1):
        print(f"{number:03}  " + "  ‖  ".join(turn["user"] for turn in case["turns"]))
    key = {f"{number:03}": case["id"] for number, case in enumerate(cases, start=1)}
    arguments.key.write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
