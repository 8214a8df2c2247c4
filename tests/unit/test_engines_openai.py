"""The OpenAI engine against a server on loopback that answers, limits, fails and hangs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playing import call, gold, scenario, suite, turn

from matinee.config import RequestForm
from matinee.engines.base import Completion, Request
from matinee.engines.openai import LONGEST_NAME, OpenAIEngine, wire_messages, wire_names
from matinee.engines.sampling import GREEDY, Sampling
from matinee.evaluation.playing import Play, run_suite
from matinee.evaluation.scoring import score
from matinee.messages.conversations import Message
from matinee.messages.parsing import parse
from matinee.runtime.errors import EngineError

KEY = "sk-verysecretkey123456"
AIR = "get_environment_air_pm"
Answer = tuple[int, Any]


@dataclass
class Endpoint:
    """Answers in order, then the last for ever; None hangs until the test is over.

    `together`: answers only when so many requests are open at once.
    """

    answers: list[Answer | None]
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    together: threading.Barrier | None = None
    open_now: int = 0
    open_most: int = 0


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with endpoint.lock:
                endpoint.open_now += 1
                endpoint.open_most = max(endpoint.open_most, endpoint.open_now)
                endpoint.requests.append(body)
                endpoint.authorizations.append(self.headers.get("Authorization", ""))
                several = len(endpoint.answers) > 1
                answer = endpoint.answers.pop(0) if several else endpoint.answers[0]
            if answer is None:
                endpoint.over.wait(30)
            elif endpoint.together is not None:
                endpoint.together.wait(30)
            # Before the answer is sent: the client may at once open its next request.
            with endpoint.lock:
                endpoint.open_now -= 1
            if answer is not None:
                self._send(*answer)

        def _send(self, status: int, value: Any) -> None:
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            """Keeps the tests' output quiet."""

    return Handler


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Endpoint]]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TEST_KEY", KEY)
    started: list[tuple[Endpoint, ThreadingHTTPServer]] = []

    def start(*answers: Answer | None) -> Endpoint:
        endpoint = Endpoint(list(answers))
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(endpoint))
        server.daemon_threads = True
        endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        started.append((endpoint, server))
        return endpoint

    yield start
    for endpoint, server in started:
        endpoint.over.set()
        server.shutdown()
        server.server_close()


def chat(content: str | None = None, calls: list[Any] | None = None, **choice: Any) -> Answer:
    message = {"role": "assistant", "content": content, "tool_calls": calls}
    finish = {"index": 0, "message": message, "finish_reason": "stop"} | choice
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    return 200, {"id": "x", "object": "chat.completion", "choices": [finish], "usage": usage}


def function_call(name: Any, arguments: Any) -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


def engine(endpoint: Endpoint, **settings: Any) -> OpenAIEngine:
    chosen = {"api_key_env": "TEST_KEY", "retries": 2, "timeout": 20.0} | settings
    return OpenAIEngine(endpoint.url, "model-x", **chosen)


def ask(made: OpenAIEngine, count: int = 1) -> list[Completion]:
    tool = {"type": "function", "function": {"name": AIR, "parameters": {"type": "object"}}}
    user = Message("user", "好").as_openai()
    requests = [Request(str(number), (user,), (tool,), 50) for number in range(count)]
    got: list[Completion] = []

    def reply(request: Request, completion: Completion) -> None:
        got.append(completion)

    made.serve(requests, reply)
    return got


def test_greedy_and_drawn_answers_are_asked_for(serving: Callable[..., Endpoint]) -> None:
    endpoint = serving(chat("你好"))
    user = (Message("user", "好").as_openai(),)
    for sampling in (GREEDY, Sampling(0.7, 0.9, 5)):
        request = Request("a", user, (), 50, sampling=sampling)
        engine(endpoint).serve([request], lambda asked, completion: None)
    greedy, drawn = endpoint.requests
    assert greedy["temperature"] == 0
    assert not {"top_p", "seed"} & set(greedy)
    assert (drawn["temperature"], drawn["top_p"], drawn["seed"]) == (0.7, 0.9, 5)


def test_a_text_answer_with_its_counts(serving: Callable[..., Endpoint]) -> None:
    endpoint = serving(chat("你好"))
    (completion,) = ask(engine(endpoint))
    assert (completion.text, completion.finish) == ("你好", "stop")
    assert (completion.prompt_tokens, completion.completion_tokens) == (11, 7)
    assert completion.seconds > 0
    (sent,) = endpoint.requests
    assert sent["model"] == "model-x"
    assert sent["max_tokens"] == 50
    assert sent["temperature"] == 0
    assert sent["tools"][0]["function"]["name"] == AIR
    assert endpoint.authorizations == [f"Bearer {KEY}"]


def test_calls_are_written_behind_the_text_in_the_hermes_form(
    serving: Callable[..., Endpoint],
) -> None:
    calls = [function_call(AIR, '{"city": "上海"}'), function_call("get_province_list", "")]
    (completion,) = ask(engine(serving(chat("我查。", calls))))
    parsed = parse("hermes", completion.text)
    assert parsed.content == "我查。"
    assert [(one.name, one.arguments) for one in parsed.calls] == [
        (AIR, '{"city": "上海"}'),
        ("get_province_list", "{}"),
    ]


def test_tool_names_that_the_api_refuses_come_back_as_they_were(
    serving: Callable[..., Endpoint],
) -> None:
    endpoint = serving(chat(calls=[function_call("math_factorial", '{"number": 5}')]))
    tool = {"type": "function", "function": {"name": "math.factorial", "parameters": {}}}
    said = Message("assistant", "", (call("math.factorial", number=4),)).as_openai()
    request = Request("one", ({"role": "user", "content": "5!"}, said), (tool,), 100)
    texts: list[str] = []

    def reply(request: Request, completion: Completion) -> None:
        texts.append(completion.text)

    engine(endpoint).serve([request], reply)
    (sent,) = endpoint.requests
    assert sent["tools"][0]["function"]["name"] == "math_factorial"
    assert sent["messages"][1]["tool_calls"][0]["function"]["name"] == "math_factorial"
    assert parse("hermes", texts[0]).calls[0].name == "math.factorial"


def test_broken_arguments_stay_broken(serving: Callable[..., Endpoint]) -> None:
    (completion,) = ask(engine(serving(chat(None, [function_call(AIR, '{"city": ')]))))
    assert parse("hermes", completion.text).error is not None


def test_a_cut_off_answer_is_marked(serving: Callable[..., Endpoint]) -> None:
    (completion,) = ask(engine(serving(chat("很长", finish_reason="length"))))
    assert completion.finish == "length"


def test_missing_counts_are_zero(serving: Callable[..., Endpoint]) -> None:
    status, body = chat("好")
    (completion,) = ask(engine(serving((status, body | {"usage": None}))))
    assert (completion.prompt_tokens, completion.completion_tokens) == (0, 0)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_limits_and_server_errors_are_tried_again(
    serving: Callable[..., Endpoint], status: int
) -> None:
    endpoint = serving((status, {"error": {"message": "wait"}}), chat("好"))
    assert [one.text for one in ask(engine(endpoint))] == ["好"]
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize(
    ("status", "tries", "says"),
    [
        (429, 3, "kept limiting the rate (HTTP 429, 3 tries)"),
        (500, 3, "failed with HTTP 500"),
        (404, 1, "Check the model's name (model-x)"),
        (401, 1, "read from the variable TEST_KEY, which is set"),
    ],
)
def test_what_does_not_pass_says_where_and_what_to_do(
    serving: Callable[..., Endpoint], status: int, tries: int, says: str
) -> None:
    endpoint = serving((status, {"error": {"message": f"no: key {KEY} of sk-other-key-99"}}))
    with pytest.raises(EngineError) as caught:
        ask(engine(endpoint))
    message = str(caught.value)
    assert endpoint.url in message
    assert says in message
    assert len(endpoint.requests) == tries
    assert KEY not in message
    assert "sk-other" not in message
    assert caught.value.__suppress_context__


def test_without_a_key_the_endpoint_is_tried_all_the_same(
    serving: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_KEY")
    endpoint = serving(chat("好"), (401, {}))
    made = engine(endpoint)
    assert len(ask(made)) == 1
    with pytest.raises(EngineError, match="TEST_KEY, which is not set"):
        ask(made)


def test_a_server_that_hangs_is_left(serving: Callable[..., Endpoint]) -> None:
    endpoint = serving(None)
    with pytest.raises(EngineError, match=r"did not answer within 0\.2 s \(1 try\)"):
        ask(engine(endpoint, timeout=0.2, retries=0))


def test_a_server_that_is_not_there(serving: Callable[..., Endpoint]) -> None:
    made = OpenAIEngine("http://user:pass@127.0.0.1:9/v1", "m", retries=0)
    with pytest.raises(EngineError, match="cannot be reached") as caught:
        ask(made)
    assert "http://127.0.0.1:9/v1" in str(caught.value)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hello</html>",
        b"",
        {},
        [],
        {"choices": []},
        {"choices": "no"},
        {"choices": [{"message": None}]},
        chat(None, [{"id": "1", "type": "function"}])[1],
        chat(None, [function_call(None, "{}")])[1],
    ],
)
def test_a_malformed_answer_names_the_address(serving: Callable[..., Endpoint], body: Any) -> None:
    endpoint = serving((200, body))
    with pytest.raises(EngineError, match="not with a chat completion") as caught:
        ask(engine(endpoint))
    assert endpoint.url in str(caught.value)


def test_as_many_requests_as_allowed_are_open_at_once(serving: Callable[..., Endpoint]) -> None:
    endpoint = serving(chat("好"))
    endpoint.together = threading.Barrier(3)
    assert len(ask(engine(endpoint, concurrency=3, retries=0), count=9)) == 9
    assert endpoint.open_most == 3


def test_nothing_to_do_asks_nothing(serving: Callable[..., Endpoint]) -> None:
    endpoint = serving(chat("好"))
    assert ask(engine(endpoint), count=0) == []
    assert endpoint.requests == []


def test_a_case_is_played_through(serving: Callable[..., Endpoint]) -> None:
    case = scenario(turn(gold(AIR, city="上海")))
    endpoint = serving(chat(None, [function_call(AIR, '{"city": "上海"}')]), chat("空气良好。"))
    (transcript,) = run_suite(
        suite(case),
        engine(endpoint),
        Play(subject="s", form="hermes", max_steps=4, max_new_tokens=9),
    )
    assert score(case, transcript, suite(case).tools).success
    sent = endpoint.requests[1]["messages"]
    identifier = sent[2]["tool_calls"][0]["id"]
    assert sent[2]["tool_calls"][0]["function"]["arguments"] == '{"city": "上海"}'
    assert sent[3]["tool_call_id"] == identifier


def test_results_are_bound_to_calls_and_orphans_become_user_messages() -> None:
    made = (call("a"), call("b", x=1))
    sent = wire_messages(
        [
            Message("assistant", "", made).as_openai(),
            Message("tool", "1", name="a").as_openai(),
            Message("tool", "2", name="b").as_openai(),
            Message("assistant", "<tool_call>").as_openai(),
            Message("tool", "格式错误").as_openai(),
        ]
    )
    identifiers = [one["id"] for one in sent[0]["tool_calls"]]
    assert len(set(identifiers)) == 2
    assert [one["tool_call_id"] for one in sent[1:3]] == identifiers
    assert sent[4] == {"role": "user", "content": "格式错误"}


# --- endpoints as vendors run them ---


def strict(refused: str, message: str) -> Answer:
    return 400, {"error": {"message": message, "type": "invalid_request_error", "param": refused}}


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (
            strict(
                "max_tokens",
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
            ),
            "limit: max_completion_tokens",
        ),
        (
            strict(
                "temperature",
                "Unsupported value: 'temperature' does not support 0 with this model. "
                "Only the default (1) value is supported.",
            ),
            r"omit: \[temperature\]",
        ),
        (
            strict("", "parameter.enable_thinking must be set to false: thinking is not supported"),
            "extra_body",
        ),
    ],
    ids=["OpenAI's limit", "OpenAI's temperature", "DashScope's thinking"],
)
def test_a_refused_parameter_says_what_to_change(
    serving: Callable[..., Endpoint], answer: Answer, advice: str
) -> None:
    with pytest.raises(EngineError, match=advice):
        ask(engine(serving(answer), retries=0))


def test_a_request_is_what_the_endpoint_wants(serving: Callable[..., Endpoint]) -> None:
    form = RequestForm(
        limit="max_completion_tokens",
        omit=["temperature"],
        extra_body={"enable_thinking": False, "chat_template_kwargs": {"a": 1}},
    )
    endpoint = serving((200, {"choices": [{"message": {"content": "好"}}]}))
    ask(engine(endpoint, request=form))
    (sent,) = endpoint.requests
    assert not sent.keys() & {"temperature", "max_tokens"}
    assert sent["max_completion_tokens"] > 0
    assert (sent["enable_thinking"], sent["chat_template_kwargs"]) == (False, {"a": 1})


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart_from_the_answer(
    serving: Callable[..., Endpoint], name: str
) -> None:
    message = {"content": "晴。", name: "先查<tool_call>天气</think>"}
    (answer,) = ask(engine(serving((200, {"choices": [{"message": message}]}))))
    read = parse("hermes", answer.text)
    assert (read.content, read.calls, read.error) == ("晴。", (), None)
    assert "先查" in read.reasoning


def test_allowed_tool_names_stay() -> None:
    assert wire_names(["get_weather", "a-2"]) == {"get_weather": "get_weather", "a-2": "a-2"}


def test_no_two_tools_are_sent_under_one_name() -> None:
    own = ["a.b", "a_b", "a/b", "天气", "时间", "", "x" * 70, "x" * 71]
    names = wire_names(own)
    assert set(names) == set(own)
    assert len(set(names.values())) == len(own)
    assert all(0 < len(name) <= LONGEST_NAME for name in names.values())
    assert names["a_b"] == "a_b"
    assert wire_names(["math.factorial"]) == {"math.factorial": "math_factorial"}
