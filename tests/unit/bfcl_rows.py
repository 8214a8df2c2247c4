"""Questions and answers in BFCL v4's format, written by hand: none is from the benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Rows = dict[str, list[tuple[dict[str, Any], list[dict[str, Any]] | None]]]


def function(name: str, required: list[str], **parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "description": f"Does {name}.",
        "parameters": {"type": "dict", "properties": parameters, "required": required},
    }


def asked(identifier: str, text: str, *functions: dict[str, Any], system: str = "") -> Any:
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text})
    return {"id": identifier, "question": [messages], "function": list(functions)}


BAKE = function(
    "oven.bake",
    ["dish", "degrees"],
    dish={"type": "string", "description": "What to bake."},
    degrees={"type": "integer", "description": "Celsius."},
    hours={"type": "float", "default": 1.0},
    fan={"type": "boolean", "optional": True},
    tray={"type": "string", "default": "middle"},
)
ORDER = function(
    "order_bread",
    ["loaves"],
    loaves={
        "type": "array",
        "items": {
            "type": "dict",
            "properties": {"kind": {"type": "string"}, "count": {"type": "integer"}},
            "required": ["kind"],
        },
    },
    address={
        "type": "dict",
        "properties": {"street": {"type": "string"}, "note": {"type": "string"}},
        "required": ["street"],
    },
    sizes={"type": "tuple", "items": {"type": "float"}},
    extra={"type": "any"},
)

BAKE_ANSWER = {
    "oven.bake": {
        "dish": ["apple pie", "pie"],
        "degrees": [180],
        "hours": ["", 1.5],
        "fan": ["", None],
    }
}
ORDER_ANSWER = {
    "order_bread": {
        "loaves": [
            [{"kind": ["rye"], "count": [2, 2]}, {"kind": ["wheat", "white"], "count": ["", 1]}]
        ],
        "address": [{"street": ["Mill Lane 3"], "note": ["", "ring twice"]}],
        "sizes": [[1.0, 2.5]],
        "extra": ["", "soon"],
    }
}

ROWS: Rows = {
    "simple_python": [
        (asked("simple_python_0", "Bake an apple pie at 180 degrees.", BAKE), [BAKE_ANSWER]),
    ],
    "multiple": [
        (asked("multiple_0", "Two rye and a wheat to Mill Lane 3.", BAKE, ORDER), [ORDER_ANSWER]),
    ],
    "parallel": [
        (
            asked("parallel_0", "Bake a pie at 180 and a cake at 160.", BAKE),
            [BAKE_ANSWER, {"oven.bake": {"dish": ["cake"], "degrees": [160]}}],
        ),
    ],
    "irrelevance": [(asked("irrelevance_0", "Who wrote Faust?", BAKE), None)],
    "live_simple": [
        (
            asked("live_simple_0-3-0", "Cake, 160!", BAKE, system="You run a bakery."),
            [{"oven.bake": {"dish": ["cake"], "degrees": [160]}}],
        ),
        (
            asked("live_simple_1-3-1", "Pie, 180!", BAKE),
            [{"oven.bake": {"dish": ["pie"], "degrees": [180]}}],
        ),
    ],
    "live_irrelevance": [(asked("live_irrelevance_0-0-0", "Sing me a song.", ORDER), None)],
}


def write_data(folder: Path, rows: Rows = ROWS) -> Path:
    """The folder as the wheel holds it."""
    answers = folder / "possible_answer"
    answers.mkdir(parents=True, exist_ok=True)
    for category, entries in rows.items():
        name = f"BFCL_v4_{category}.json"
        _write(folder / name, [question for question, _ in entries])
        given = [
            {"id": question["id"], "ground_truth": answer}
            for question, answer in entries
            if answer is not None
        ]
        if given:
            _write(answers / name, given)
    return folder


def _write(file: Path, values: list[Any]) -> None:
    file.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
