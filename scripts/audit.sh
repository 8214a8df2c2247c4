#!/usr/bin/env bash
# Secrets in the repository (or in FOLDER), and known holes in the pinned packages:
# scripts/audit.sh [FOLDER]. Part of `make lint`.
set -euo pipefail
cd "$(dirname "$0")/.."

# Only what has the form of a real key: checksums and made-up passwords would drown it.
found=$(cd "${1:-.}" && detect-secrets scan --all-files --no-verify \
    --exclude-files '^(results|\.venv[^/]*|\.snakemake|\.git|\.[a-z]+_cache|\.hypothesis)/' \
    --disable-plugin HexHighEntropyString --disable-plugin Base64HighEntropyString \
    --disable-plugin KeywordDetector)
python - "$found" <<'PYTHON'
import json
import sys

results = json.loads(sys.argv[1])["results"]
for file, secrets in results.items():
    for secret in secrets:
        print(f"{file}:{secret['line_number']}: {secret['type']}")
if results:
    sys.exit("Secrets: take them out (and out of the history), and change them where they are from.")
print("No secret found.")
PYTHON

# pip-audit asks the package index, package by package. A network without that list must not fail
# every change, so its answer is judged here: nothing audited is a skip, and is said.
python - <<'PYTHON'
import json
import subprocess
import sys


def skip(reason: str) -> None:
    print(f"pip-audit skipped: {reason}")
    sys.exit()


done = subprocess.run(
    ["pip-audit", "--requirement", "requirements-dev.txt", "--no-deps", "--disable-pip"]
    + ["--format", "json", "--progress-spinner", "off"],
    capture_output=True,
    text=True,
)
try:
    packages = json.loads(done.stdout)["dependencies"]
except (ValueError, KeyError):
    reason = (done.stderr.strip() or "no output").splitlines()[-1]
    skip(f"the list of known holes cannot be read here ({reason})")
audited = [package for package in packages if "vulns" in package]
if not audited:
    skip("the package index here knows of no package's holes")
holes = [(package, hole) for package in audited for hole in package["vulns"]]
for package, hole in holes:
    fixed = ", ".join(hole["fix_versions"]) or "no version yet"
    print(f"{package['name']} {package['version']}: {hole['id']}, mended in {fixed}")
if holes:
    sys.exit("Known holes in pinned packages: raise their versions (make lock).")
print(f"No known hole in {len(audited)} of {len(packages)} pinned packages.")
PYTHON
