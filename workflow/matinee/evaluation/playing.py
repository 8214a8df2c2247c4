"""The loop: model ⇄ tools and scripted user, in bounded steps, with everything recorded."""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from matinee.engines.base import Completion, Engine, Request
from matinee.engines.sampling import GREEDY, Sampling
from matinee.evaluation.asking import MAXIMUM_ROUNDS, answer, asked_slots
from matinee.evaluation.simulation import Simulation, world
from matinee.messages.conversations import Message, Tool, ToolCall, canonical_json
from matinee.messages.parsing import CallForm, parse, printable
from matinee.messages.scenarios import Fault, Scenario, Suite, Turn
from matinee.messages.transcripts import Observation, Parse, Step, Transcript
from matinee.runtime.errors import EngineError, ScenarioError

# The same call with the same result, or the same broken text, so often within a turn is a cycle.
CYCLE_LENGTH = 3

Stop = Literal["done", "step_limit", "token_limit", "cycle"]
SimulationFactory = Callable[[datetime.date, Sequence[Fault], Sequence[Tool]], Simulation]
_WEEKDAYS = "一二三四五六日"


def request_key(case: str, repeat: int) -> str:
    """The key of a case's conversation at the engine."""
    return f"{case}#{repeat}"


def case_of(key: str) -> str:
    """The case of a `request_key`."""
    return key.rpartition("#")[0]


def system_message(today: datetime.date) -> str:
    """The system message of all cases: what they share stays one prefix."""
    day = f"{today.year}年{today.month}月{today.day}日（{today.isoformat()}）"
    return f"今天是{day}，星期{_WEEKDAYS[today.weekday()]}。"


def run_suite(
    suite: Suite,
    engine: Engine,
    *,
    subject: str,
    form: CallForm,
    max_steps: int,
    max_new_tokens: int,
    max_observation: int = 4000,
    repeats: int = 1,
    sampling: Sampling = GREEDY,
    simulation: SimulationFactory = world,
    on_finished: Callable[[Transcript], object] = lambda transcript: None,
) -> list[Transcript]:
    """Runs every scenario `repeats` times; transcripts in the order of the suite, then repeats.

    `max_steps`: model outputs per turn. `max_new_tokens`: per output. `max_observation`:
    characters of a tool's answer that the model reads; the record keeps all. `sampling`: how tokens
    are chosen; each output draws from a seed of its own, made of this one, the case, the repeat and
    the output's number, so that it depends on no other case. `simulation`: makes the
    tools of one case from today's date, the case's faults and tools. `on_finished` gets each
    transcript as its case ends. Raises EngineError where the engine fails, or leaves a case without
    an end.
    """
    today = datetime.date.fromisoformat(suite.today) if suite.today else None
    limits = _Limits(max_steps, max_new_tokens, max_observation, sampling)
    shared = _as_openai(suite.tools)
    cases = {
        request_key(scenario.id, repeat): _Case(
            scenario,
            repeat,
            form,
            limits,
            _as_openai(scenario.tools) if scenario.tools else shared,
            _simulation_of(suite, scenario, today, simulation),
            today,
        )
        for scenario in suite.scenarios
        for repeat in range(repeats)
    }
    finished: dict[str, Transcript] = {}

    def reply(request: Request, completion: Completion) -> Request | None:
        case = cases[request.key]
        case.advance(completion)
        if case.stop is None:
            return case.request()
        finished[request.key] = case.transcript(subject, suite.id)
        on_finished(finished[request.key])
        return None

    engine.serve([case.request() for case in cases.values()], reply)
    left = [key for key in cases if key not in finished]
    if left:
        raise EngineError(
            f"The engine ended with {len(left)} of {len(cases)} cases unfinished, such as "
            f"{left[0]}. Run the stage again; its log says what the engine did last."
        )
    return [finished[key] for key in cases]


def _as_openai(tools: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(Tool.from_openai(tool).as_openai() for tool in tools)


def _simulation_of(
    suite: Suite, scenario: Scenario, today: datetime.date | None, make: SimulationFactory
) -> Simulation | None:
    """The tools that a case calls; None where its first output ends it."""
    if suite.single_output:
        return None
    if today is None:
        raise ScenarioError(f"suite {suite.id}: its tools need a date; give `today`.")
    tools = [Tool.from_openai(tool) for tool in suite.tools_of(scenario)]
    return make(today, scenario.faults, tools)


@dataclass(frozen=True)
class _Limits:
    max_steps: int
    max_new_tokens: int
    max_observation: int
    sampling: Sampling


@dataclass
class _Case:
    """One conversation under way. `stop` is None until it has ended."""

    scenario: Scenario
    repeat: int
    form: CallForm
    limits: _Limits
    tools: tuple[dict[str, Any], ...]
    simulation: Simulation | None
    today: datetime.date | None
    messages: list[dict[str, Any]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    stop: Stop | None = None
    turn_number: int = 0
    steps_in_turn: int = 0
    rounds: int = 0
    answered: set[str] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if self.today is not None:
            self._say(Message("system", system_message(self.today)))
        for said in self.scenario.opening:
            self._say(Message(said.role, said.content))
        self._say(Message("user", self.turn.user))

    @property
    def turn(self) -> Turn:
        return self.scenario.turns[self.turn_number]

    def request(self) -> Request:
        """The next completion to make."""
        key = request_key(self.scenario.id, self.repeat)
        return Request(
            key,
            tuple(self.messages),
            self.tools,
            self.limits.max_new_tokens,
            sampling=_seeded(self.limits.sampling, f"{key}/{len(self.steps)}"),
        )

    def transcript(self, subject: str, suite: str) -> Transcript:
        """The record of the ended case."""
        return Transcript(
            case=self.scenario.id,
            subject=subject,
            suite=suite,
            repeat=self.repeat,
            form=self.form,
            messages=tuple(self.messages),
            steps=tuple(self.steps),
            stop=self.stop or "done",
        )

    def advance(self, completion: Completion) -> None:
        """Takes one model output: calls tools, lets the user speak, or ends the case."""
        completion = replace(completion, text=printable(completion.text))
        parsed = parse(self.form, completion.text, tools=self.tools)
        self.steps_in_turn += 1
        observations: tuple[Observation, ...] = ()
        reply: str | None = None
        number = self.turn_number
        if completion.finish == "length":
            self._say(Message("assistant", completion.text.strip()))
            self.stop = "token_limit"
        elif not parsed.calls and parsed.error is None:
            self._say(Message("assistant", parsed.content, reasoning=parsed.reasoning))
            reply = self._user_reply(parsed.content)
        elif self.simulation is None:
            self._say(_called(parsed, completion.text))
            self.stop = "done"
        else:
            observations = self._observe(self.simulation, parsed, completion.text)
            self._check_bounds(parsed, observations, completion.text)
        self.steps.append(_step(number, completion, parsed, observations, reply))

    def _say(self, message: Message) -> None:
        self.messages.append(message.as_openai())

    def _observe(self, simulation: Simulation, parsed: Parse, text: str) -> tuple[Observation, ...]:
        """Makes all calls of an output, or none where it did not parse."""
        message = _called(parsed, text)
        self._say(message)
        if parsed.error is not None:
            observations: tuple[Observation, ...] = (_unparsable(parsed.error),)
        else:
            observations = tuple(
                simulation.call(call.name, call.arguments) for call in message.tool_calls
            )
        for seen in observations:
            content = _shortened(seen.content, self.limits.max_observation)
            self._say(Message("tool", content, name=seen.tool or None))
        return observations

    def _check_bounds(
        self, parsed: Parse, observations: tuple[Observation, ...], text: str
    ) -> None:
        if parsed.error is not None:
            self.outcomes[text] += 1
        else:
            for call, seen in zip(parsed.calls, observations, strict=True):
                self.outcomes[canonical_json([call.name, call.arguments, seen.content])] += 1
        if max(self.outcomes.values()) >= CYCLE_LENGTH:
            self.stop = "cycle"
        elif self.steps_in_turn >= self.limits.max_steps:
            self.stop = "step_limit"

    def _user_reply(self, text: str) -> str | None:
        """The scripted user's answer to a question back; without one the turn has ended."""
        asked = asked_slots(self.turn, text, self.answered)
        said = answer(self.turn, asked) if asked and self.rounds < MAXIMUM_ROUNDS else None
        if said is not None:
            self.rounds += 1
            self.answered.update(asked)
            self._say(Message("user", said))
            if self.steps_in_turn >= self.limits.max_steps:
                self.stop = "step_limit"
            return said
        self._next_turn()
        return None

    def _next_turn(self) -> None:
        if self.turn_number + 1 == len(self.scenario.turns):
            self.stop = "done"
            return
        self.turn_number += 1
        self.steps_in_turn = self.rounds = 0
        self.answered.clear()
        self.outcomes.clear()
        self._say(Message("user", self.turn.user))


def _called(parsed: Parse, text: str) -> Message:
    """The assistant's message with its calls, or as it stands where it did not parse."""
    if parsed.error is not None:
        return Message("assistant", text.strip())
    calls = tuple(ToolCall(call.name, call.arguments) for call in parsed.calls)
    return Message("assistant", parsed.content, calls, reasoning=parsed.reasoning)


def _seeded(sampling: Sampling, place: str) -> Sampling:
    """The sampling of one output; a greedy one needs no seed."""
    if sampling.temperature == 0:
        return GREEDY
    digest = hashlib.sha256(f"{sampling.seed}/{place}".encode()).digest()
    return replace(sampling, seed=int.from_bytes(digest[:4], "big") >> 1)


def _shortened(text: str, limit: int) -> str:
    """The beginning of a long answer, and how much of it was left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}……（共{len(text)}字，以下省略）"


def _unparsable(error: str) -> Observation:
    """What the model reads when its call could not be read, worded as the tools word errors."""
    body = {
        "reason": f"工具调用格式错误，没有执行任何调用（{error}）",
        "result": None,
        "error_code": 10000,
    }
    return Observation(tool="", content=canonical_json(body), error="unparsable")


def _step(
    turn: int,
    completion: Completion,
    parsed: Parse,
    observations: tuple[Observation, ...],
    reply: str | None,
) -> Step:
    return Step(
        turn=turn,
        text=completion.text,
        parse=parsed,
        observations=observations,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        finish=completion.finish,
        seconds=completion.seconds,
        reply=reply,
    )
