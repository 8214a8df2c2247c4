"""A folder's chat template as an Ollama Modelfile: Go's template language, by rendering examples.

Ollama does not read Jinja. The template is rendered on messages of marked texts, and what stands
between the marks becomes the Go template, so that any template of ours keeps its spelling. Only
the tool list differs: Ollama spells each tool as JSON in one line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.runtime.records import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SYSTEM, _ASKED, _SAID, _RESULT, _TOOL = "MSYSTEM", "MASKED", "MSAID", "MRESULT", "MTOOL"
_ARGUMENTS = {"MARGUMENT": 1}
_CALL = {"function": {"name": _TOOL, "arguments": _ARGUMENTS}}
_LISTED = {
    "function": {
        "name": _TOOL,
        "description": "",
        "parameters": {"type": "object", "properties": {}},
    }
}
_LIST, _NAMES = "MLIST", "MNAMES"
_ACTIONS = {
    "{{": '{{ "{{" }}',
    _LIST: "{{ range $.Tools }}\n{{ .Function }}{{ end }}",
    _NAMES: "{{ range $t, $tool := $.Tools }}{{ if $t }}, {{ end }}{{ .Function.Name }}{{ end }}",
    _SYSTEM: "{{ $.System }}",
    _ASKED: "{{ .Content }}",
    _RESULT: "{{ .Content }}",
    _TOOL: "{{ $call.Function.Name }}",
    json.dumps(_ARGUMENTS): "{{ $call.Function.Arguments }}",
}
_TURNS = (
    '{{- $open := true }}{{ range $n, $m := .Messages }}{{ if eq .Role "user" }}{{ if $open }}'
    "{{ if and $.Tools $.System }}%(both)s{{ else if $.Tools }}%(tools)s"
    "{{ else if $.System }}%(system)s{{ else }}%(user)s{{ end }}{{ $open = false }}"
    '{{ else }}%(user)s{{ end }}{{ else if eq .Role "tool" }}%(result)s'
    '{{ else if eq .Role "assistant" }}%(opening)s{{ .Content }}'
    "{{ range $k, $call := .ToolCalls }}{{ if or $m.Content $k }}%(between)s{{ end }}%(call)s"
    "{{ end }}%(end)s{{ end }}{{ end }}%(prompt)s"
)


def modelfile(weights: str, model: Path) -> str:
    """The Modelfile of the GGUF file `weights` beside it, for the model of a folder."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    ends = read_json(model / "generation_config.json")["eos_token_id"]
    stops = [tokenizer.decode([end]) for end in ([ends] if isinstance(ends, int) else ends)]
    return "\n".join(
        [
            f"FROM ./{weights}",
            f'TEMPLATE """{go_template(tokenizer)}"""',
            *(f'PARAMETER stop "{stop}"' for stop in stops),
            "PARAMETER temperature 0",
            "",
        ]
    )


def go_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokenizer's chat template in Ollama's language, without the token of the beginning."""

    def spelled(*messages: dict[str, Any], tools: bool = False, prompt: bool = False) -> str:
        text = tokenizer.apply_chat_template(
            list(messages),
            tools=[_LISTED] if tools else None,
            add_generation_prompt=prompt,
            tokenize=False,
        )
        return str(text).removeprefix(str(tokenizer.bos_token or ""))

    system, asked = {"role": "system", "content": _SYSTEM}, {"role": "user", "content": _ASKED}
    user = spelled(asked)

    def answer(content: str, *calls: dict[str, Any]) -> str:
        said = {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}
        return spelled(asked, said).removeprefix(user)

    opening, end = answer(_SAID).split(_SAID)
    called = answer("", _CALL).removeprefix(opening).removesuffix(end)
    result = {"role": "tool", "content": _RESULT, "name": _TOOL}
    calling = {"role": "assistant", "content": "", "tool_calls": [_CALL]}
    pieces = {
        "both": spelled(system, asked, tools=True),
        "tools": spelled(asked, tools=True),
        "system": spelled(system, asked),
        "user": user,
        "result": spelled(asked, calling, result).removeprefix(spelled(asked, calling)),
        "opening": opening,
        "between": answer(_SAID, _CALL).removeprefix(opening + _SAID).removesuffix(called + end),
        "call": called,
        "end": end,
        "prompt": spelled(asked, prompt=True).removeprefix(user),
    }
    for name in ("both", "tools"):
        pieces[name] = _with_tool_list(pieces[name])
    return _TURNS % {name: _as_go(text) for name, text in pieces.items()}


def _with_tool_list(text: str) -> str:
    """The line of the one tool becomes a list of all; elsewhere its name one of their names."""
    before, _, after = text.partition(_TOOL)
    head, _, _ = before.rpartition("\n")
    _, _, rest = after.partition("\n")
    return f"{head}{_LIST}\n{rest.replace(_TOOL, _NAMES)}"


def _as_go(text: str) -> str:
    """The marks as Go's actions."""
    for mark, action in _ACTIONS.items():
        text = text.replace(mark, action)
    return text
