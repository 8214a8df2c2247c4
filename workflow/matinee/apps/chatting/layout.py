"""The page's components, and their words in a language."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_args

import gradio as gr

from matinee.apps.agent.events import PlannerName
from matinee.apps.chatting.wording import LANGUAGES, Words

_LANGUAGE_NAMES = {"zh": "中文", "en": "English"}
# Components whose label, or whose text, is the word of their name.
_LABELLED = (
    *("compare", "scenario", "scenario_box", "working_box"),
    *("planner", "reflection", "memory", "tools_box"),
)
_WRITTEN = ("send", "stop", "new", "export", "tools_reset", "tools_help")


class Parts(SimpleNamespace):
    """Every component that has words or is asked for a value; `chats` and `columns` are lists."""

    def all(self) -> list[Any]:
        """The components as outputs of an event."""
        single = [part for part in vars(self).values() if not isinstance(part, list)]
        return [*single, *self.chats, *self.columns]


def lay_out(models: int, scenarios: list[str], tools: str) -> Parts:
    """The components in their places, for one model or two; inside of gr.Blocks."""
    parts = Parts(chats=[], columns=[])
    small: dict[str, Any] = {"size": "sm", "scale": 0, "min_width": 150}
    bare: dict[str, Any] = {"label": "…", "container": False}
    with gr.Row(elem_id="head"):
        parts.title = gr.Markdown(elem_id="title")
        parts.language = gr.Radio(
            [(_LANGUAGE_NAMES[name], name) for name in LANGUAGES],
            show_label=False,
            container=False,
            elem_id="language",
            min_width=210,
            scale=0,
        )
    with gr.Row(elem_id="chats"):
        for place, name in enumerate(("tuned", "untuned")[:models]):
            with gr.Column(min_width=300, visible=place == 0) as column:
                chat = gr.Chatbot(
                    elem_id=name,
                    height="56vh",
                    buttons=["copy_all"],
                    latex_delimiters=[],
                    feedback_options=None,
                )
            parts.chats.append(chat)
            parts.columns.append(column)
    with gr.Row(elem_id="asking"):
        parts.question = gr.Textbox(
            elem_id="question",
            max_lines=6,
            scale=8,
            min_width=220,
            show_label=False,
            autofocus=True,
        )
        beside: dict[str, Any] = {"scale": 1, "min_width": 80}
        parts.send = gr.Button(variant="primary", elem_id="send", **beside)
        parts.stop = gr.Button(variant="stop", elem_id="stop", interactive=False, **beside)
    parts.notice = gr.Markdown(elem_id="notice")
    with gr.Row(elem_id="below"):
        parts.compare = gr.Checkbox(
            visible=models > 1, elem_id="compare", scale=4, min_width=300, **bare
        )
        parts.new = gr.Button(elem_id="new", **small)
        parts.export = gr.Button(elem_id="export", **small)
        parts.download = gr.DownloadButton(visible=False, elem_id="download", **small)
    with gr.Accordion(open=False, elem_id="scenarios") as parts.scenario_box:
        parts.scenario = gr.Dropdown(scenarios, value=None, elem_id="scenario")
        parts.accepted = gr.Markdown(elem_id="accepted")
    with gr.Accordion(open=False, elem_id="working") as parts.working_box:
        parts.planner = gr.Radio(list(get_args(PlannerName)), value="react", elem_id="planner")
        parts.reflection = gr.Checkbox(True, elem_id="reflection", **bare)
        parts.memory = gr.Checkbox(True, elem_id="memory", **bare)
    with gr.Accordion(open=False, elem_id="toolbox") as parts.tools_box:
        parts.tools_help = gr.Markdown()
        parts.tools = gr.Code(
            tools, language="json", lines=10, max_lines=24, elem_id="tools", show_label=False
        )
        parts.tools_reset = gr.Button(size="sm", elem_id="restore")
    return parts


def worded(parts: Parts, words: Words, models: list[str]) -> dict[Any, Any]:
    """Updates that put every component into a language. `models`: their names."""
    named = vars(parts)
    updates = {named[name]: gr.update(label=words(name.removesuffix("_box"))) for name in _LABELLED}
    updates |= {named[name]: gr.update(value=words(name)) for name in _WRITTEN}
    updates[parts.language] = gr.update(value=words.language)
    updates[parts.title] = gr.update(value=f"## {words('title')}\n\n{words('lead')}")
    updates[parts.question] = gr.update(placeholder=words("ask"), label=words("question"))
    updates[parts.scenario]["info"] = words("scenario_help")
    updates[parts.planner]["choices"] = [(words(name), name) for name in get_args(PlannerName)]
    for chat, kind, model in zip(parts.chats, ("tuned", "untuned"), models, strict=False):
        updates[chat] = gr.update(label=f"{words(kind)} · {model}", placeholder=words("empty"))
    return updates
