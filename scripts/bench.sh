#!/usr/bin/env bash
# Every benchmark, one after the other; each prints pairs measured in one run.
# MODEL names a model folder for training and evaluation; the demo leaves one under results/model.
set -euo pipefail
cd "$(dirname "$0")/.."

model=${MODEL:-results/model/qwen2_5_coder_0_5b}
[ -d "$model" ] || { echo "No model in $model: run make demo first, or set MODEL=FOLDER."; exit 1; }

python benchmarks/frame.py
python benchmarks/synthesis.py
python benchmarks/report.py
python benchmarks/fuzz_parsing.py
python benchmarks/bfcl_agreement.py
python benchmarks/memory.py
python benchmarks/attention.py
python benchmarks/merging.py
scripts/bench_rivals.sh
python benchmarks/training.py --model "$model"
python benchmarks/training_cpu.py --model "$model"
python benchmarks/training_packing.py --model "$model"
python benchmarks/evaluation.py --model "$model"
[ ! -d results/training ] || python benchmarks/estimates.py results --configfile workflow/presets/demo.yaml
