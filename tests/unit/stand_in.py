"""A server process that speaks as vLLM's and llama.cpp's do, for what starts and ends one.

It answers `你好`, ended by a mark, and counts. `--dies-loading`: says why and ends before it
listens. `--dies-asked`: ends at the first question. `--fails`: says why and
refuses every question. `--child FILE`: starts a process of its own,
whose number it writes down.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--served-model-name", "--alias", dest="name")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--dies-loading", action="store_true")
    parser.add_argument("--dies-asked", action="store_true")
    parser.add_argument("--fails", action="store_true")
    parser.add_argument("--child", type=Path)
    parser.add_argument("--seen", type=Path)
    told, _ = parser.parse_known_args()
    print("loading", *sys.argv[1:], flush=True)
    if told.dies_loading:
        sys.exit("not enough memory for the weights")
    if told.child:
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        told.child.write_text(f"{child.pid}\n")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"data": [{"id": told.name}]})

        def do_POST(self) -> None:
            if told.dies_asked:
                print("CUDA error: out of memory", flush=True)
                os._exit(9)
            if told.fails:
                print("EngineDeadError: the worker timed out", flush=True)
                self.send_error(400)
                return
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if told.seen:
                with told.seen.open("a") as file:
                    file.write(json.dumps(body) + "\n")
            message = {"role": "assistant", "content": "你好<|im_end|>"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
            self._send(
                {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}
            )

        def _send(self, value: Any) -> None:
            content = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    class OwnPort(ThreadingHTTPServer):
        allow_reuse_address = False

    OwnPort((told.host, told.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
