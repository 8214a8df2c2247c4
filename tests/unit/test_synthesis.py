"""What every generated conversation must be, over 2,000 rows for each of two seeds."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest
from jsonschema.validators import validator_for
from pydantic import ValidationError

from matinee.data.synthesis import SynthesisSettings, World, generate, load_catalogue
from matinee.data.synthesis.scenes import SCENES
from matinee.data.synthesis.simulator import UNKNOWN_ID
from matinee.messages.conversations import Conversation, canonical_json

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "workflow" / "resources" / "catalogue"
SEEDS = (1, 2)


@cache
def rows_of(seed: int, conversations: int = 2000, **changes: float) -> tuple[Conversation, ...]:
    settings = SynthesisSettings(conversations=conversations, seed=seed, **changes)
    return tuple(generate(settings, CATALOGUE))


@cache
def rows() -> tuple[Conversation, ...]:
    return tuple(row for seed in SEEDS for row in rows_of(seed))


def text_of(row: Conversation) -> str:
    return canonical_json(row.to_row())


def test_as_many_rows_as_asked_for_with_unique_ids() -> None:
    assert len({row.id for row in rows()}) == len(rows()) == 4000


def test_every_call_names_a_listed_tool_and_fits_its_schema() -> None:
    for row in rows():
        validators = {}
        for tool in row.tools:
            schema = {**tool.schema, "additionalProperties": False}
            validators[tool.name] = validator_for(schema)(schema)
        for message in row.messages:
            for call in message.tool_calls:
                errors = list(validators[call.name].iter_errors(call.values))
                assert not errors, (row.id, call, errors)


def test_tool_names_are_unique_within_a_list() -> None:
    assert all(len({tool.name for tool in row.tools}) == len(row.tools) for row in rows())


def test_lists_are_as_long_as_the_settings_say() -> None:
    sizes = {len(row.tools) for row in rows()}
    assert sizes == set(range(3, 9))


def test_long_lists_can_be_asked_for() -> None:
    settings = SynthesisSettings(conversations=80, tools_per_list=(20, 20))
    assert {len(row.tools) for row in generate(settings, CATALOGUE)} == {20}


def test_roles_alternate_as_chat_templates_expect() -> None:
    may_follow = {
        None: {"system", "user"},
        "system": {"user"},
        "user": {"assistant"},
        "assistant": {"user"},
        "call": {"tool"},
        "tool": {"tool", "assistant"},
    }
    for row in rows():
        previous, answers_due = None, 0
        for message in row.messages:
            assert message.role in may_follow[previous], (row.id, message.role, previous)
            answers_due -= message.role == "tool"
            if message.role != "tool":
                assert answers_due == 0, row.id
            answers_due += len(message.tool_calls)
            previous = "call" if message.tool_calls else message.role
            assert bool(message.content) != bool(message.tool_calls), row.id
        assert row.messages[-1].role == "assistant"


def test_observations_bear_the_names_of_the_calls_in_their_order() -> None:
    for row in rows():
        due: list[str] = []
        for message in row.messages:
            if message.role == "tool":
                assert message.name == due.pop(0)
                json.loads(message.content)
            due += [call.name for call in message.tool_calls]


def test_no_template_mark_is_left_in_what_is_said() -> None:
    for row in rows():
        for message in row.messages:
            if message.role in ("user", "assistant"):
                assert not set("{}[]<>|") & set(message.content), (row.id, message.content)


def test_rows_of_a_list_stand_together_and_share_prefix_byte_for_byte() -> None:
    for seed in SEEDS:
        blocks = [list(block) for _, block in groupby(rows_of(seed), lambda r: r.labels["list"])]
        assert len({block[0].labels["list"] for block in blocks}) == len(blocks)
        for block in blocks:
            assert len(block) == 8
            prefixes = {
                (row.tools, row.messages[0] if row.messages[0].role == "system" else None)
                for row in block
            }
            assert len(prefixes) == 1


def test_every_kind_is_made_about_as_often_as_the_mix_says() -> None:
    mix = SynthesisSettings().mix
    assert set(mix) == set(SCENES)
    for category, weight in mix.items():
        share = sum(row.category == category for row in rows()) / len(rows())
        assert abs(share - weight / sum(mix.values())) < 0.035, (category, share)


def test_a_mix_of_one_kind_yields_that_kind() -> None:
    for category in ("chain", "no_tool", "coded", "missing_asked"):
        settings = SynthesisSettings(conversations=64, mix={category: 1})
        made = [row.category for row in generate(settings, CATALOGUE)]
        assert made.count(category) > 60, category


def test_languages_have_their_shares_and_their_script() -> None:
    chinese = [row for row in rows() if row.language == "zh"]
    assert 0.8 < len(chinese) / len(rows()) < 0.9
    for row in rows():
        said = "".join(message.content for message in row.messages if message.role == "user")
        # a number plate or a character to look up may stand alone in an English question
        has_chinese = re.search("[一-鿿]" * (1 if row.language == "zh" else 2), said)
        assert bool(has_chinese) == (row.language == "zh"), said


def test_calls_come_where_they_should() -> None:
    for row in rows():
        turns = [message.tool_calls for message in row.messages if message.tool_calls]
        match row.category:
            case "no_tool" | "missing_asked":
                assert not turns
            case "single" | "coded" | "complete" | "changed":
                assert [len(calls) for calls in turns] == [1]
            case "parallel" | "repeated":
                assert [len(calls) for calls in turns] == [2]
                names = {call.name for call in turns[0]}
                assert len(names) == (1 if row.category == "repeated" else 2)
            case "chain":
                assert 2 <= len(turns) <= 4


def test_chains_of_two_three_and_four_steps_are_made() -> None:
    chains = [row for row in rows() if row.category == "chain"]
    steps = [sum(bool(message.tool_calls) for message in row.messages) for row in chains]
    assert {2, 3, 4} <= set(steps)


def test_supplied_values_stand_in_an_earlier_observation_and_not_in_the_question() -> None:
    catalogue = load_catalogue(CATALOGUE)
    checked = 0
    for row in rows_of(3, 800, masked_share=0.0):
        seen, said = "", ""
        for message in row.messages:
            for call in message.tool_calls:
                for parameter in catalogue.tools[call.name].supplied:
                    value = call.values[parameter.name]
                    assert f'"{value}"' in seen, (row.id, call)
                    assert value not in said
                    checked += 1
            seen += message.content if message.role == "tool" else ""
            said += message.content if message.role == "user" else ""
    assert checked > 50


def test_replayed_chains_get_the_same_observations() -> None:
    catalogue = load_catalogue(CATALOGUE)
    replayed = 0
    for row in rows_of(3, 800, masked_share=0.0):
        if row.category == "recovery":
            continue
        world = World(catalogue, row.id, row.language)  # type: ignore[arg-type]
        expected: list[object] = []
        for message in row.messages:
            if message.role == "tool":
                content = json.loads(message.content)
                shown = (
                    content.get("data", content.get("result", content))
                    if (
                        isinstance(content, dict)
                        and ({"code", "reason"} & set(content))
                        and ({"data", "result"} & set(content))
                    )
                    else content
                )
                observed = expected.pop(0)
                assert observed in (content, shown), row.id
                replayed += 1
            expected += [world.observe(call.name, call.values) for call in message.tool_calls]
    assert replayed > 200


def test_the_world_refuses_ids_that_it_has_not_issued() -> None:
    world = World(load_catalogue(CATALOGUE), "any", "zh")
    assert world.observe("book_stock", {"bookId": "B000000"}) == UNKNOWN_ID


def test_masked_lists_never_show_a_catalogue_name() -> None:
    catalogue = load_catalogue(CATALOGUE)
    for row in rows_of(4, 800, masked_share=1.0):
        text = text_of(row)
        leaked = [name for name in catalogue.tools if f'"{name}"' in text]
        originals = [name for name in catalogue.tools if name in text and "_" in name]
        assert not leaked, row.id
        assert not originals, row.id


def test_masking_can_be_switched_off() -> None:
    names = set(load_catalogue(CATALOGUE).tools)
    for row in rows_of(3, 800, masked_share=0.0):
        assert {tool.name for tool in row.tools} <= names


def test_relative_dates_only_where_the_date_is_told() -> None:
    relative = re.compile(
        r"昨[天日]|前天|明天|后天|[上下](周|星期)[一二三四五六日]|今年|去年|\d天[前后]"
    )
    for row in rows():
        if row.language == "zh" and row.messages[0].role != "system":
            said = "".join(message.content for message in row.messages if message.role == "user")
            assert not relative.search(said), said


def test_answers_follow_in_the_share_asked_for() -> None:
    for share in (0.0, 1.0):
        for row in rows_of(5, 160, answer_share=share, masked_share=0.0):
            if row.category in ("single", "parallel", "coded"):
                assert bool(row.messages[-1].content) == bool(share)


def test_every_catalogue_tool_is_used() -> None:
    names = set(load_catalogue(CATALOGUE).tools)
    offered = {tool.name for row in rows_of(3, 800, masked_share=0.0) for tool in row.tools}
    assert names == offered


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    program = (
        "import sys, hashlib; from pathlib import Path\n"
        "from matinee.data.synthesis import SynthesisSettings, generate\n"
        "from matinee.messages.conversations import canonical_json\n"
        "digest = hashlib.sha256()\n"
        "for row in generate(SynthesisSettings(conversations=200, seed=9), Path(sys.argv[1])):\n"
        "    digest.update(canonical_json(row.to_row()).encode())\n"
        "print(digest.hexdigest())\n"
    )
    digests = set()
    for hash_seed in ("0", "12345"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": str(ROOT / "workflow"),
        }
        command = [sys.executable, "-c", program, str(CATALOGUE)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


def test_another_seed_gives_other_rows() -> None:
    assert text_of(rows_of(1)[0]) != text_of(rows_of(2)[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"conversations": 0},
        {"tools_per_list": (8, 3)},
        {"mix": {"single": 0}},
        {"mix": {"unheard_of": 1}},
        {"languages": {"fr": 1}},
        {"masked_share": 1.5},
        {"unknown": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SynthesisSettings.model_validate(wrong)


def test_every_setting_has_a_description() -> None:
    described = {
        name for name, field in SynthesisSettings.model_fields.items() if field.description
    }
    assert described | {"conversations"} == set(SynthesisSettings.model_fields)


def test_extra_parameters_are_listed_and_never_given() -> None:
    catalogue = load_catalogue(CATALOGUE)
    listed = 0
    for row in rows_of(5, 400, masked_share=0.0, extras_share=1.0):
        extras = {
            tool.name: set(tool.schema["properties"]) - set(catalogue.tools[tool.name].args)
            for tool in row.tools
        }
        listed += sum(map(len, extras.values()))
        for message in row.messages:
            for call in message.tool_calls:
                assert not extras[call.name] & set(call.values), row.id
    assert listed > 1000
    assert all(
        set(tool.schema["properties"]) == set(catalogue.tools[tool.name].args)
        for row in rows_of(5, 400, masked_share=0.0, extras_share=0.0)
        for tool in row.tools
    )


def test_descriptions_are_written_out_in_the_share_of_lists_that_was_asked_for() -> None:
    catalogue = load_catalogue(CATALOGUE)

    def about(share: float) -> list[tuple[str, str]]:
        return [
            (tool.description, catalogue.tools[tool.name].about[row.language])
            for row in rows_of(7, 400, masked_share=0.0, written_out_share=share)
            for tool in row.tools
        ]

    assert all(shown == short for shown, short in about(0.0))
    assert all(len(shown) > len(short) and shown[-1] in ".。" for shown, short in about(1.0))
    written = [shown != short for shown, short in about(0.5)]
    assert 0.3 < sum(written) / len(written) < 0.7


def test_written_out_descriptions_name_only_tools_of_their_list() -> None:
    catalogue = load_catalogue(CATALOGUE)
    named = 0
    for row in rows_of(8, 400, masked_share=0.0, written_out_share=1.0):
        listed = {tool.name for tool in row.tools}
        for tool in row.tools:
            mentioned = {name for name in catalogue.tools if name in tool.description}
            named += bool(mentioned)
            assert mentioned <= listed, tool.description
    assert named > 100


def test_arguments_stand_in_the_order_of_the_list() -> None:
    catalogue = load_catalogue(CATALOGUE)
    moved = 0
    for row in rows_of(6, 400, masked_share=0.0):
        shown = {tool.name: list(tool.schema["properties"]) for tool in row.tools}
        for message in row.messages:
            for call in message.tool_calls:
                given = list(call.values)
                assert given == [name for name in shown[call.name] if name in given], row.id
                moved += given != [
                    name for name in catalogue.tools[call.name].args if name in given
                ]
    assert moved > 20
