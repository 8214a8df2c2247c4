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

# pip-audit asks PyPI, package by package; a network without it must not fail every change. Asked
# once before, for a mirror that does not know of holes answers "not found" for each of them.
if python - <<'PYTHON'
import json
import sys
import urllib.request

try:
    with urllib.request.urlopen("https://pypi.org/pypi/pip/24.0/json", timeout=10) as answer:
        json.load(answer)["vulnerabilities"]
except (OSError, ValueError, KeyError) as error:
    print(f"pip-audit skipped: pypi.org's list of known holes cannot be read here ({error!r}).")
    sys.exit(1)
PYTHON
then
    pip-audit --requirement requirements-dev.txt --no-deps --disable-pip --progress-spinner off
fi
