"""OpenAPI documents as tools: what becomes of parameters, bodies and references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from matinee.evaluation.openapi import import_openapi
from matinee.evaluation.openapi.sending import path_part, query
from matinee.evaluation.scoring.schemas import ToolSchemas
from matinee.evaluation.simulation.api import Parameters
from matinee.messages.conversations import Tool
from matinee.runtime.errors import ScenarioError

LIBRARY = """openapi: 3.0.3
info: {title: Library, version: "1"}
paths:
  /books/{isbn}:
    parameters:
      - $ref: "#/components/parameters/Isbn"
      - {name: trace, in: header, schema: {type: string}}
    get:
      operationId: find_book
      summary: Find a book.
      description: |
        One book,
        by its number.
      parameters:
        - name: language
          in: query
          description: Of the edition.
          schema: {type: string, enum: [de, zh], default: de}
        - {name: day, in: query, schema: {type: string, format: date, default: 2024-05-01}}
    put:
      operationId: change_book
      parameters:
        - {name: isbn, in: path, required: true, schema: {type: integer}}
      requestBody:
        required: true
        content:
          application/json: {schema: {$ref: "#/components/schemas/Book"}}
  /loans:
    post:
      requestBody:
        content:
          application/x-www-form-urlencoded:
            schema:
              type: object
              required: [reader]
              properties:
                reader: {type: string}
                days: {type: integer, minimum: 0, exclusiveMinimum: true}
  /notes:
    post:
      operationId: add_notes
      requestBody:
        required: true
        content:
          application/json: {schema: {type: array, items: {type: string}}}
components:
  parameters:
    Isbn: {name: isbn, in: path, required: true, schema: {type: string}}
  schemas:
    Named:
      type: object
      required: [title]
      properties: {title: {type: string, example: Faust}}
    Book:
      allOf:
        - $ref: "#/components/schemas/Named"
        - type: object
          required: [id, author]
          properties:
            id: {type: integer, readOnly: true}
            author: {$ref: "#/components/schemas/Person"}
            subtitle: {type: string, nullable: true}
    Person:
      type: object
      properties:
        name: {type: string}
        friends: {type: array, items: {$ref: "#/components/schemas/Person"}}
"""

MODERN = {
    "openapi": "3.1.0",
    "info": {"title": "Weather", "version": "1"},
    "paths": {
        "/weather": {
            "get": {
                "operationId": "weather.now",
                "parameters": [
                    {
                        "name": "city",
                        "in": "query",
                        "required": True,
                        "schema": {"type": ["string", "null"]},
                    },
                    {
                        "name": "area",
                        "in": "query",
                        "content": {"application/json": {"schema": {"$ref": "#/$defs/box"}}},
                    },
                    {
                        "name": "units",
                        "in": "query",
                        "schema": {"$ref": "#/components/schemas/Units", "description": "Here."},
                    },
                ],
            }
        }
    },
    "components": {"schemas": {"Units": {"const": "metric", "description": "There."}}},
    "$defs": {"box": {"type": "array", "prefixItems": [{"type": "number", "exclusiveMinimum": 0}]}},
}


def written(folder: Path, text: str) -> Path:
    file = folder / "api.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def tools(folder: Path, text: str = LIBRARY, *operations: str) -> dict[str, dict[str, Any]]:
    imported = import_openapi(written(folder, text), operations)
    return {tool["name"]: tool for tool in imported.tools}


def problems(folder: Path, text: str, *operations: str) -> list[str]:
    """The lines that name a place: of the message, or of what was left out."""
    try:
        lines = list(import_openapi(written(folder, text), operations).left_out)
    except ScenarioError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.startswith("  ")]
    return [line.removeprefix(f"{folder}/") for line in lines]


class TestVersion30:
    def test_every_operation_is_a_tool_named_by_its_id_or_its_path(self, tmp_path: Path) -> None:
        assert list(tools(tmp_path)) == ["find_book", "change_book", "post_loans", "add_notes"]

    def test_path_and_query_parameters(self, tmp_path: Path) -> None:
        found = tools(tmp_path)["find_book"]
        assert found["description"] == "Find a book. One book, by its number."
        assert found["parameters"] == {
            "type": "object",
            "properties": {
                "isbn": {"type": "string"},
                "language": {
                    "type": "string",
                    "enum": ["de", "zh"],
                    "default": "de",
                    "description": "Of the edition.",
                },
                "day": {"type": "string", "format": "date", "default": "2024-05-01"},
            },
            "required": ["isbn"],
        }

    def test_an_operations_own_parameter_replaces_that_of_its_path(self, tmp_path: Path) -> None:
        properties = tools(tmp_path)["change_book"]["parameters"]["properties"]
        assert properties["isbn"] == {"type": "integer"}

    def test_the_fields_of_a_body_stand_beside_the_parameters(self, tmp_path: Path) -> None:
        parameters = tools(tmp_path)["change_book"]["parameters"]
        assert set(parameters["properties"]) == {"isbn", "title", "author", "subtitle"}
        assert parameters["required"] == ["isbn", "title", "author"]
        assert parameters["properties"]["title"] == {"type": "string"}
        assert parameters["properties"]["subtitle"] == {"type": ["string", "null"]}

    def test_what_contains_itself_stands_once_under_its_name(self, tmp_path: Path) -> None:
        parameters = tools(tmp_path)["change_book"]["parameters"]
        person = parameters["$defs"]["Person"]
        assert person["properties"]["friends"]["items"] == {"$ref": "#/$defs/Person"}
        author = {"name": "Ann", "friends": [{"name": "Bo", "friends": [{"name": 3}]}]}
        schemas = ToolSchemas([tools(tmp_path)["change_book"]])
        arguments = {"isbn": 1, "title": "Faust", "author": author}
        problem = schemas.problem("change_book", arguments)
        assert problem is not None
        assert "3 is not of type 'string'" in str(problem.detail.values["said"])

    def test_a_body_that_may_be_left_out_requires_nothing(self, tmp_path: Path) -> None:
        parameters = tools(tmp_path)["post_loans"]["parameters"]
        assert "required" not in parameters
        assert parameters["properties"]["days"] == {"type": "integer", "exclusiveMinimum": 0}

    def test_a_body_without_fields_is_one_parameter(self, tmp_path: Path) -> None:
        parameters = tools(tmp_path)["add_notes"]["parameters"]
        assert parameters["properties"] == {"body": {"type": "array", "items": {"type": "string"}}}
        assert parameters["required"] == ["body"]

    def test_headers_and_cookies_are_left_out_and_named_with_their_line(
        self, tmp_path: Path
    ) -> None:
        imported = import_openapi(written(tmp_path, LIBRARY), ["find_book"])
        (line,) = imported.left_out
        assert "api.yaml:7: GET /books/{isbn}: the header 'trace' is left out" in line

    def test_a_field_with_the_name_of_a_parameter_keeps_the_body_whole(
        self, tmp_path: Path
    ) -> None:
        text = LIBRARY.replace("title: {type: string, example", "isbn: {type: string, example")
        text = text.replace("required: [title]", "required: [isbn]")
        properties = tools(tmp_path, text)["change_book"]["parameters"]["properties"]
        assert set(properties) == {"isbn", "body"}
        assert properties["body"]["required"] == ["isbn", "author"]


def test_version_31_in_json(tmp_path: Path) -> None:
    found = tools(tmp_path, json.dumps(MODERN))["weather_now"]
    assert found["description"] == "GET /weather"
    assert found["parameters"]["properties"] == {
        "city": {"type": ["string", "null"]},
        "area": {"type": "array", "prefixItems": [{"type": "number", "exclusiveMinimum": 0}]},
        "units": {"const": "metric", "description": "Here."},
    }
    assert found["parameters"]["required"] == ["city"]


def test_every_tool_can_be_used_as_it_is(tmp_path: Path) -> None:
    for tool in tools(tmp_path).values():
        Parameters(Tool.from_openai(tool))  # raises where the schema is not self-contained


class TestAllowList:
    @pytest.mark.parametrize("name", ["find_book", "GET /books/{isbn}"])
    def test_an_operation_by_its_id_or_its_path(self, tmp_path: Path, name: str) -> None:
        assert list(tools(tmp_path, LIBRARY, name)) == ["find_book"]

    def test_an_id_that_became_another_name_is_found_too(self, tmp_path: Path) -> None:
        assert list(tools(tmp_path, json.dumps(MODERN), "weather.now")) == ["weather_now"]

    def test_an_unknown_name_is_told_with_those_that_exist(self, tmp_path: Path) -> None:
        (line,) = problems(tmp_path, LIBRARY, "lose_book")
        assert line == (
            "api.yaml:3: no operation 'lose_book'; there are: find_book, change_book, post_loans, "
            "add_notes"
        )

    def test_what_is_not_allowed_need_not_be_usable(self, tmp_path: Path) -> None:
        text = LIBRARY.replace("schema: {type: array, items", "schema: {type: heap, items")
        assert list(tools(tmp_path, text, "find_book")) == ["find_book"]


BOOK = '{$ref: "#/components/schemas/Book"}'
PERSON = 'author: {$ref: "#/components/schemas/Person"}'
FORM = "requestBody:\n        content:\n          application/x"
MISTAKES = [
    ("openapi: 3.0.3", "openapi: 2.0", "api.yaml:1: `openapi` must be a version 3.0.x or 3.1"),
    ("openapi: 3.0.3", 'swagger: "2.0"', "api.yaml:1: Swagger 2.0 is not read; convert"),
    ("paths:", "paths: [", "not YAML"),
    ("paths:\n", "roads:\n", "api.yaml:1: `paths` must be a mapping"),
    ("  /notes:\n    post:", "  /notes:\n    post: 3\n    put:", "api.yaml:40: post must be a m"),
    (
        "operationId: change_book",
        "operationId: find_book",
        "api.yaml:20: the operationId 'find_book'",
    ),
    ('/Isbn"', '/Isbm"', "api.yaml:6: '#/components/parameters/Isbm' leads nowhere"),
    ("- name: language\n", "- nom: language\n", "api.yaml:15: a parameter must be a mapping"),
    ("in: query, schema:", "in: heap, schema:", "api.yaml:19: `in` must be path, query"),
    (BOOK, '{$ref: "other.yaml#/Book"}', "api.yaml:24: 'other.yaml#/Book' leads out of the"),
    (FORM, FORM.replace("content", "kontent"), "api.yaml:30: requestBody needs `content`"),
    ("application/json: {schema: {type: a", "text/csv: {schema: {type: a", "api.yaml:42: a body"),
    (
        "schema: {type: array, items",
        "schema: {type: heap, items",
        "api.yaml:40: its parameters are not a JSON Schema",
    ),
    (PERSON, "author: 3", "api.yaml:24: a schema must be a mapping, found 3"),
    (f"application/json: {{schema: {BOOK}}}", "application/json: 1", "api.yaml:24: application/js"),
    ("components:", "components: null\nothers:", "api.yaml:6: '#/components/parameters/Isbn' lead"),
    ("components:", "components: x\nothers:", "api.yaml:6: '#/components/parameters/Isbn' lead"),
    ("components:", "components: []\nothers:", "api.yaml:6: '#/components/parameters/Isbn' lead"),
    ("required: [reader]", "required: [[]]", "api.yaml:30: `required` must be a list of names"),
    ("required: [title]", "required: null", "api.yaml:24: `required` must be a list of names"),
    ("required: [title]", "required: true", "api.yaml:24: `required` must be a list of names"),
    (
        "subtitle: {type: string, nullable: true}",
        "subtitle: {type: string, nullable: true, enum: null}",
        "api.yaml:24: `enum` must be a list, found None",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "expected"), MISTAKES)
def test_a_mistake_is_told_with_its_line(
    tmp_path: Path, right: str, wrong: str, expected: str
) -> None:
    assert right in LIBRARY
    lines = problems(tmp_path, LIBRARY.replace(right, wrong, 1))
    assert any(expected in line for line in lines), lines


def test_a_reference_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    text = LIBRARY.replace(
        "    Isbn: {name: isbn, in: path, required: true, schema: {type: string}}",
        '    Isbn: {$ref: "#/components/parameters/Isbn"}',
    )
    assert any("leads back to itself" in line for line in problems(tmp_path, text))


def test_a_missing_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"none\.yaml:1: cannot be read"):
        import_openapi(tmp_path / "none.yaml")


def test_the_command_writes_a_list_that_suites_take(tmp_path: Path) -> None:
    import run

    out = tmp_path / "tools.json"
    file = written(tmp_path, LIBRARY)
    arguments = ["import-openapi", str(file), "--out", str(out), "--operation", "find_book"]
    result = CliRunner().invoke(run.app, arguments)
    assert result.exit_code == 0, result.output
    assert "1 tool written" in result.output
    assert [tool["name"] for tool in json.loads(out.read_text())] == ["find_book"]


QUERY = """openapi: 3.0.3
paths:
  /天气/{day}:
    get:
      operationId: 查天气
      parameters:
        - {name: day, in: path, required: true, style: matrix, schema: {type: string}}
        - {name: tags, in: query, explode: false, schema: {type: array, items: {type: string}}}
        - {name: bars, in: query, style: pipeDelimited, schema: {type: array, items: {}}}
        - {name: each, in: query, schema: {type: array, items: {type: boolean}}}
        - {name: deep, in: query, style: deepObject, schema: {type: object}}
        - {name: flat, in: query, explode: false, schema: {type: object}}
        - {name: zip, in: query, schema: {type: string, nullable: true}}
        - {name: box, in: query, content: {application/json: {schema: {type: object}}}}
    put:
      operationId: 改天气
      parameters: [{name: day, in: path, required: true, schema: {type: array, items: {}}}]
"""


def test_arguments_are_spelled_as_their_style_says(tmp_path: Path) -> None:
    get, put = import_openapi(written(tmp_path, QUERY)).operations
    values = {
        "tags": ["a", "b c"],
        "bars": [1, 2],
        "each": [True, False],
        "deep": {"a": "x", "b": True},
        "flat": {"a": 1},
        "zip": None,
        "box": {"a": [1]},
    }
    assert query(get.spellings, values) == [
        *(("tags", "a,b c"), ("bars", "1|2"), ("each", "true"), ("each", "false")),
        *(("deep[a]", "x"), ("deep[b]", "true"), ("flat", "a,1"), ("box", '{"a": [1]}')),
    ]
    assert path_part("day", "a/b", get.spellings["day"]) == ";day=a%2Fb"
    assert path_part("day", [1, "中"], put.spellings["day"]) == "1,%E4%B8%AD"


def test_a_name_without_latin_letters_becomes_method_and_path(tmp_path: Path) -> None:
    assert list(tools(tmp_path, QUERY)) == ["get_day", "put_day"]
    twice = QUERY.replace("  /天气/{day}:\n    get:", "  /水/{day}:\n    get:").replace(
        "    put:", "  /天气/{day}:\n    get:"
    )
    assert list(tools(tmp_path, twice)) == ["get_day", "get_day_2"]


def levels(number: int, keyword: str) -> str:
    """A document whose schema refers twice to the next of so many levels."""
    schemas: dict[str, Any] = {
        f"L{level}": {keyword: [{"$ref": f"#/components/schemas/L{level + 1}"}] * 2}
        for level in range(number)
    }
    schemas[f"L{number}"] = {"type": "string"}
    parameter = {"name": "p", "in": "query", "schema": {"$ref": "#/components/schemas/L0"}}
    return json.dumps(
        {
            "openapi": "3.1.0",
            "paths": {"/x": {"get": {"operationId": "x", "parameters": [parameter]}}},
            "components": {"schemas": schemas},
        }
    )


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "prefixItems"])
def test_thirty_levels_of_two_references_stay_references(tmp_path: Path, keyword: str) -> None:
    (tool,) = tools(tmp_path, levels(30, keyword)).values()
    assert len(tool["parameters"]["$defs"]) == 31
    assert len(json.dumps(tool)) < 10_000


def test_a_chain_of_many_references_ends(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, levels(3000, "allOf"))
    assert "is nested too deeply" in line or "parts" in line


def test_a_document_that_contains_itself_or_swells_is_refused_by_its_line(tmp_path: Path) -> None:
    swelling = "openapi: 3.1.0\na0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    assert "more than 500,000 values" in problems(tmp_path, swelling)[0]
    assert problems(tmp_path, "openapi: 3.1.0\npaths: &a\n  /x: *a\n") == [
        "api.yaml:3: *a contains itself"
    ]
