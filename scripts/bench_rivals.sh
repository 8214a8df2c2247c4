#!/usr/bin/env bash
# The environments of the systems that benchmarks/training.py compares with, each of its own:
# .venv-llamafactory and .venv-trl beside the Makefile. Made once; delete a folder to make it again.
set -euo pipefail
cd "$(dirname "$0")/.."
torch=torch==${TORCH_VERSION:-2.13.0}
python=${PYTHON:-python3}

environment() {
    local folder=$1
    shift
    [ -e "$folder/ready" ] && return
    echo "setting up $folder"
    "$python" -m venv "$folder"
    local pip="$folder/bin/python -m pip --quiet --disable-pip-version-check"
    # torch first, so that nothing else chooses another build of it.
    $pip install ${PIP_ARGS:-} "$torch"
    $pip install ${PIP_ARGS:-} "$@"
}

environment .venv-trl trl==1.16.0 transformers==5.23.0 peft==0.21.2 datasets accelerate
touch .venv-trl/ready

# The newest versions that LLaMA-Factory 0.9.5 allows. Its web page's packages, torchvision and
# torchaudio are left out: training text needs none of them, and they must match torch exactly.
environment .venv-llamafactory transformers==5.6.0 peft==0.18.1 trl==0.24.0 accelerate==1.11.0 \
    datasets==4.0.0 "tyro<0.9.0" torchdata==0.11.0 "av<=16.0.0" einops fire hf-transfer \
    matplotlib modelscope omegaconf pandas protobuf pydantic pyyaml scipy sentencepiece \
    sse-starlette tiktoken
if [ ! -e .venv-llamafactory/ready ]; then
    .venv-llamafactory/bin/python -m pip install --quiet --no-deps ${PIP_ARGS:-} llamafactory==0.9.5
    # It imports torchaudio, and uses it for sound alone.
    site=$(.venv-llamafactory/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")
    mkdir -p "$site/torchaudio"
    touch "$site/torchaudio/__init__.py" .venv-llamafactory/ready
fi
