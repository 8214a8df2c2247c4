"""An exported folder under a real vLLM: the same prompts, first outputs and calls as ours?

    scripts/install_vllm.sh VENV
    python benchmarks/vllm_served.py --model FOLDER --vllm VENV [--template chatml_action]

The first requests of the shipped scenarios go to our engine and to `vllm serve` with
`--enable-auto-tool-choice`, both in fp32 and greedy. Compared are the tokens of the prompt (by
`/tokenize`, and those that the chat used), the tokens of the answer, and the calls that vLLM's
parser read in it with those that ours reads in the same text. Prints a table, and each difference.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from matinee.engines.base import Completion, Reply, Request  # noqa: E402
from matinee.engines.openai import wire_messages  # noqa: E402
from matinee.engines.servers import Command, Started, running  # noqa: E402
from matinee.engines.transformers import TransformersEngine  # noqa: E402
from matinee.evaluation.playing import Play, run_suite  # noqa: E402
from matinee.evaluation.suites import load_suite, select  # noqa: E402
from matinee.messages.forms import forms  # noqa: E402
from matinee.messages.parsing import parse  # noqa: E402
from matinee.messages.rendering import Renderer  # noqa: E402
from matinee.models.devices import Placement  # noqa: E402
from matinee.runtime.records import write_json  # noqa: E402

RESOURCES = ROOT / "workflow" / "resources"
AT_ONCE = 16


class First:
    """An engine that keeps the first request of each case, and ends the case."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        for request in requests:
            self.requests.append(request)
            reply(request, Completion("", 0, 0, "length", 0.0))


def first_requests(form: str, cases: int, tokens: int) -> list[Request]:
    suite = select(load_suite(RESOURCES / "scenarios", RESOURCES / "tools.json"), limit=cases)
    first = First()
    run_suite(suite, first, Play("first", form, max_steps=1, max_new_tokens=tokens))
    return first.requests[:cases]


def ours(model: Path, template: str, requests: list[Request]) -> dict[str, str]:
    engine = TransformersEngine.load(model, template, Placement("cpu", "fp32", "compared"), AT_ONCE)
    texts: dict[str, str] = {}

    def keep(request: Request, completion: Completion) -> None:
        texts[request.key] = completion.text

    engine.serve(requests, keep)
    return texts


def command(arguments: argparse.Namespace, form: str) -> Command:
    """`vllm serve` with its parser of the form."""
    plugin = arguments.model / "vllm_action_parser.py"
    parser = ["--tool-call-parser", forms()[form].vllm or form]
    if plugin.is_file():
        parser += ["--tool-parser-plugin", str(plugin)]
    fixed = [
        *(str(arguments.vllm / "bin/vllm"), "serve", str(arguments.model), "--dtype", "float32"),
        *("--enforce-eager", "--max-model-len", "4096", "--max-num-seqs", str(AT_ONCE)),
        *("--generation-config", "vllm", "--enable-auto-tool-choice", *parser),
    ]
    return lambda port, name: [
        *fixed,
        *("--host", "127.0.0.1", "--port", str(port), "--served-model-name", name),
    ]


def asked(request: Request, server: Started, client: httpx.Client) -> dict[str, Any]:
    """What vLLM makes of a request: prompt and answer as tokens, and the calls read in it."""
    body: dict[str, Any] = {"model": server.name, "messages": wire_messages(request.messages)}
    if request.tools:
        body["tools"] = list(request.tools)
    root = server.address.removesuffix("/v1")
    rendered = client.post(f"{root}/tokenize", json={**body, "add_generation_prompt": True})
    limits = {"temperature": 0, "max_tokens": request.max_new_tokens, "return_token_ids": True}
    answer = client.post(f"{root}/v1/chat/completions", json={**body, **limits})
    told = answer.raise_for_status().json()
    choice = told["choices"][0]
    calls = choice["message"].get("tool_calls") or []
    return {
        "prompt": rendered.raise_for_status().json()["tokens"],
        "used": told["prompt_token_ids"],
        "written": choice["token_ids"],
        "calls": [[one["function"]["name"], one["function"]["arguments"]] for one in calls],
    }


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    renderer = Renderer(AutoTokenizer.from_pretrained(arguments.model), arguments.template)
    requests = first_requests(renderer.form, arguments.cases, arguments.tokens)
    texts = ours(arguments.model, arguments.template, requests)
    gc.collect()
    os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    found: dict[str, Any] = dict.fromkeys(("cases", "prompt", "answer", "calls", "called"), 0)
    differences: list[dict[str, Any]] = []
    with (
        running(command(arguments, renderer.form), arguments.output.with_suffix(".log")) as server,
        httpx.Client(timeout=1800, trust_env=False) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        answers = pool.map(lambda request: asked(request, server, client), requests)
        for request, theirs in zip(requests, answers, strict=True):
            prompt = renderer.prompt(request.messages, request.tools)
            written = [token for token in theirs["written"] if token not in renderer.stop_ids]
            text = str(renderer.tokenizer.decode(written))
            read = parse(renderer.form, text, tools=request.tools)
            same = {
                "prompt": theirs["prompt"] == prompt == theirs["used"],
                "answer": text == texts[request.key],
                "calls": [[name, json.loads(given)] for name, given in theirs["calls"]]
                == [[call.name, json.loads(call.arguments)] for call in read.calls],
            }
            found["cases"] += 1
            found["called"] += bool(theirs["calls"])
            for name, equal in same.items():
                found[name] += equal
            if not all(same.values()):
                kept = {"case": request.key, "ours": texts[request.key], "vllm": text}
                differences.append(
                    {**kept, **same, "error": str(read.error or ""), "calls": theirs["calls"]}
                )
    return {**found, "differences": differences}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--vllm", type=Path, required=True, help="its environment")
    parser.add_argument("--template", default="chatml_action")
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--output", type=Path, default=Path("vllm_served.json"))
    arguments = parser.parse_args()
    found = compare(arguments)
    write_json(arguments.output, found)
    for one in found.pop("differences"):
        print(json.dumps(one, ensure_ascii=False))
    print("| of | " + " | ".join(found) + " |")
    print("| --- | " + " | ".join(map(str, found.values())) + " |")


if __name__ == "__main__":
    main()
