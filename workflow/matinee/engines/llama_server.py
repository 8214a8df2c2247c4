"""llama.cpp's server out of the wheel `xllamacpp`, with the flags of its own `llama-server`.

Stands in where no `llama-server` is installed; imports nothing of the package.
"""

from __future__ import annotations

import argparse
import os
import threading
from pathlib import Path


def main() -> None:
    """Serves until it is ended."""
    import xllamacpp

    parser = argparse.ArgumentParser(prog="llama_server", description=__doc__)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--alias", default="model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("-np", "--parallel", type=int, default=1)
    parser.add_argument("-c", "--ctx-size", type=int, default=0, help="0: the model's own")
    parser.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-ngl", "--gpu-layers", type=int, default=-1, help="-1: all")
    parser.add_argument("--chat-template-file")
    parser.add_argument("--jinja", action="store_true", help="always on")
    parser.add_argument("--special", action="store_true")
    told = parser.parse_args()
    settings = xllamacpp.CommonParams()
    settings.model.path = told.model
    settings.model_alias = {told.alias}
    settings.hostnames = [told.host]
    settings.port = told.port
    settings.n_parallel = told.parallel
    settings.n_ctx = told.ctx_size
    settings.cpuparams.n_threads = told.threads
    settings.n_gpu_layers = told.gpu_layers
    settings.use_jinja = True
    settings.special = told.special
    if told.chat_template_file:
        settings.chat_template = Path(told.chat_template_file).read_text("utf-8")
    server = xllamacpp.Server(settings)
    print(f"listening on {server.listening_address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
