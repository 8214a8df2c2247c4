"""The page's components, and their words in a language."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from matinee.apps.agent.events import PlannerName
from matinee.apps.chatting.wording import LANGUAGES, Words

PLANNERS: tuple[PlannerName, ...] = ("react", "direct", "plan", "sop")
_LANGUAGE_NAMES = {"zh": "中文", "en": "English"}


@dataclass
class Parts:
    """Every component that has words or is asked for a value."""

    title: Any
    language: Any
    chats: list[Any]
    columns: list[Any]
    question: Any
    send: Any
    stop: Any
    notice: Any
    compare: Any
    new: Any
    export: Any
    download: Any
    scenario_box: Any
    scenario: Any
    accepted: Any
    working_box: Any
    planner: Any
    reflection: Any
    memory: Any
    tools_box: Any
    tools_help: Any
    tools: Any
    tools_reset: Any

    def all(self) -> list[Any]:
        """The components as outputs of an event."""
        found: list[Any] = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            found += value if isinstance(value, list) else [value]
        return found


def lay_out(models: int, scenarios: list[str], tools: str) -> Parts:
    """The components in their places, for one model or two; inside of gr.Blocks."""
    import gradio as gr

    with gr.Row(elem_id="head"):
        title = gr.Markdown(elem_id="title")
        language = gr.Radio(
            [(_LANGUAGE_NAMES[name], name) for name in LANGUAGES],
            show_label=False,
            container=False,
            elem_id="language",
            min_width=210,
            scale=0,
        )
    chats, columns = [], []
    with gr.Row(elem_id="chats"):
        for place, name in enumerate(("tuned", "untuned")[:models]):
            with gr.Column(min_width=300, visible=place == 0) as column:
                chats.append(
                    gr.Chatbot(
                        elem_id=name,
                        height="56vh",
                        buttons=["copy_all"],
                        latex_delimiters=[],
                        feedback_options=None,
                    )
                )
            columns.append(column)
    with gr.Row(elem_id="asking"):
        question = gr.Textbox(
            max_lines=6,
            scale=8,
            min_width=220,
            elem_id="question",
            show_label=False,
            autofocus=True,
        )
        send = gr.Button(variant="primary", scale=1, min_width=80, elem_id="send")
        stop = gr.Button(variant="stop", scale=1, min_width=80, elem_id="stop", interactive=False)
    notice = gr.Markdown(elem_id="notice")
    with gr.Row(elem_id="below"):
        compare = gr.Checkbox(
            label="…",
            visible=models > 1,
            elem_id="compare",
            container=False,
            scale=4,
            min_width=300,
        )
        new = gr.Button(size="sm", scale=0, min_width=150, elem_id="new")
        export = gr.Button(size="sm", scale=0, min_width=150, elem_id="export")
        download = gr.DownloadButton(
            size="sm", scale=0, min_width=150, visible=False, elem_id="download"
        )
    with gr.Accordion(open=False, elem_id="scenarios") as scenario_box:
        scenario = gr.Dropdown(scenarios, value=None, elem_id="scenario")
        accepted = gr.Markdown(elem_id="accepted")
    with gr.Accordion(open=False, elem_id="working") as working_box:
        planner = gr.Radio(list(PLANNERS), value="react", elem_id="planner")
        reflection = gr.Checkbox(True, label="…", elem_id="reflection", container=False)
        memory = gr.Checkbox(True, label="…", elem_id="memory", container=False)
    with gr.Accordion(open=False, elem_id="toolbox") as tools_box:
        tools_help = gr.Markdown()
        code = gr.Code(
            tools, language="json", lines=10, max_lines=24, elem_id="tools", show_label=False
        )
        tools_reset = gr.Button(size="sm", elem_id="restore")
    return Parts(
        title=title,
        language=language,
        chats=chats,
        columns=columns,
        question=question,
        send=send,
        stop=stop,
        notice=notice,
        compare=compare,
        new=new,
        export=export,
        download=download,
        scenario_box=scenario_box,
        scenario=scenario,
        accepted=accepted,
        working_box=working_box,
        planner=planner,
        reflection=reflection,
        memory=memory,
        tools_box=tools_box,
        tools_help=tools_help,
        tools=code,
        tools_reset=tools_reset,
    )


def worded(parts: Parts, words: Words, models: list[str]) -> dict[Any, Any]:
    """Updates that put every component into a language. `models`: their names."""
    import gradio as gr

    updates = {
        parts.language: gr.update(value=words.language),
        parts.title: gr.update(value=f"## {words('title')}\n\n{words('lead')}"),
        parts.question: gr.update(placeholder=words("ask"), label=words("question")),
        parts.compare: gr.update(label=words("compare")),
        parts.scenario_box: gr.update(label=words("scenario")),
        parts.scenario: gr.update(label=words("scenario"), info=words("scenario_help")),
        parts.working_box: gr.update(label=words("working")),
        parts.planner: gr.update(
            label=words("planner"), choices=[(words(name), name) for name in PLANNERS]
        ),
        parts.reflection: gr.update(label=words("reflection")),
        parts.memory: gr.update(label=words("memory")),
        parts.tools_box: gr.update(label=words("tools")),
        parts.tools_help: gr.update(value=words("tools_help")),
    }
    for name in ("send", "stop", "new", "export", "tools_reset"):
        updates[getattr(parts, name)] = gr.update(value=words(name))
    for chat, kind, model in zip(parts.chats, ("tuned", "untuned"), models, strict=False):
        updates[chat] = gr.update(label=f"{words(kind)} · {model}", placeholder=words("empty"))
    return updates
