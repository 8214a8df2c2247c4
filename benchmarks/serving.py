"""The server with a real model: the classic round trip, and its load by sixteen clients.

    python benchmarks/serving.py results/merged/base/s42/model [--clients 16] [--requests 160]

It starts the server on a free port of this machine, asks it with OpenAI's client, and prints what
came out. The load asks for the air of cities with the eleven tools of the test suite, so every
prompt begins with the same two thousand tokens; each answer is at most 48 tokens long.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "unit"))

CITIES = (
    *("北京", "上海", "广州", "深圳", "成都", "杭州", "武汉", "西安"),
    *("南京", "重庆", "天津", "苏州", "长沙", "青岛", "大连", "厦门"),
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "查询某个城市今天的天气",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "城市名称，例如北京"}},
            "required": ["city"],
        },
    },
}
QUESTION = "北京、上海和广州今天的天气怎么样？"


def round_trip(here: Any) -> None:
    """Three cities at once: the calls, their results, the answer."""
    began = time.perf_counter()
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    message = here.ask(messages=messages, tools=[WEATHER], max_tokens=200).choices[0].message
    print(f"user       {QUESTION}")
    messages.append(message)
    for number, call in enumerate(message.tool_calls or []):
        print(f"calls      {call.function.name}({call.function.arguments})")
        result = {"weather": "晴", "temperature": 20 + number}
        content = json.dumps(result, ensure_ascii=False)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
    if not message.tool_calls:
        print(f"answers    {message.content!r} (no call)")
        return
    last = here.ask(messages=messages, tools=[WEATHER], max_tokens=200).choices[0].message
    for call in last.tool_calls or []:
        print(f"calls      {call.function.name}({call.function.arguments})")
    print(f"answers    {last.content!r}")
    print(f"           {time.perf_counter() - began:.1f} s for both requests")


def load(here: Any, work: Any, clients: int, requests: int) -> None:
    """So many requests by so many clients at once."""
    from matinee.evaluation.simulation.resources import eleven_tools

    tools = [tool.as_openai() for tool in eleven_tools()]
    numbers = iter(range(requests))
    lock = threading.Lock()
    seconds: list[float] = []
    tokens: list[tuple[int, int, int]] = []

    def client(one: Any) -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            began = time.perf_counter()
            city = CITIES[number % len(CITIES)]
            usage = one.ask(f"{city}今天的空气质量怎么样？", tools=tools, max_tokens=48).usage
            with lock:
                seconds.append(time.perf_counter() - began)
                cached = usage.prompt_tokens_details.cached_tokens
                tokens.append((usage.prompt_tokens, usage.completion_tokens, cached))

    here.ask("你好", tools=tools, max_tokens=1)  # the head is computed once, before the clock runs
    began = time.perf_counter()
    threads = [threading.Thread(target=client, args=(here.connected(),)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - began
    prompts, written, cached = (sum(column) for column in zip(*tokens, strict=True))
    ordered = sorted(seconds)
    print(
        f"{clients:2} clients, {requests} requests: {len(seconds)} answered in {wall:.1f} s, "
        f"{requests / wall:.2f} requests/s, {written / wall:.1f} tokens/s written\n"
        f"           latency median {statistics.median(ordered):.1f} s, "
        f"95 % {ordered[int(0.95 * (len(ordered) - 1))]:.1f} s; "
        f"{100 * cached / prompts:.0f} % of the prompt tokens were found computed; "
        f"at most {work.widest} answers side by side"
    )


def main() -> None:
    """Both, one after the other."""
    from served import site

    from matinee.apps.serving.running import Loading, load_live

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[16])
    parser.add_argument("--requests", type=int, default=160)
    parser.add_argument("--batch-size", type=int, default=16)
    chosen = parser.parse_args()
    loaded = load_live(chosen.model, Loading(batch_size=chosen.batch_size))
    with site(loaded.engine, form=loaded.form) as here:
        round_trip(here)
        for clients in chosen.clients:
            load(here, loaded.engine.work, clients, chosen.requests)


if __name__ == "__main__":
    main()
