"""The loop: model ⇄ tools and scripted user, in bounded steps, with everything recorded."""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from matinee.engines.base import Completion, Engine, Request
from matinee.engines.sampling import GREEDY, Sampling
from matinee.evaluation.asking import MAXIMUM_ROUNDS, answer, asked_slots
from matinee.evaluation.simulation import Simulation, world
from matinee.messages.conversations import Message, Tool, ToolCall, canonical_json
from matinee.messages.details import said
from matinee.messages.parsing import CallForm, parse, printable
from matinee.messages.scenarios import Fault, Scenario, Suite, Turn
from matinee.messages.transcripts import Detail, Observation, Parse, Step, Transcript
from matinee.runtime.errors import EngineError, ScenarioError

# The same call with the same result, or the same broken text, so often within a turn is a cycle.
CYCLE_LENGTH = 3

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


@dataclass(frozen=True)
class Play:
    """How a subject plays a suite.

    `max_steps`: model outputs per turn. `max_new_tokens`: per output. `max_observation`: characters
    of a tool's answer that the model reads; the record keeps all. `sampling`: how tokens are
    chosen; each output draws from a seed of its own, made of this one, the case, the repeat and the
    output's number, so that it depends on no other case.
    """

    subject: str
    form: CallForm
    max_steps: int
    max_new_tokens: int
    max_observation: int = 4000
    repeats: int = 1
    sampling: Sampling = GREEDY

    def sampling_at(self, place: str) -> Sampling:
        """The sampling of one output; a greedy one needs no seed."""
        if self.sampling.temperature == 0:
            return GREEDY
        digest = hashlib.sha256(f"{self.sampling.seed}/{place}".encode()).digest()
        return replace(self.sampling, seed=int.from_bytes(digest[:4], "big") >> 1)


def run_suite(
    suite: Suite,
    engine: Engine,
    play: Play,
    simulation: SimulationFactory = world,
    on_finished: Callable[[Transcript], object] = lambda transcript: None,
) -> list[Transcript]:
    """Runs every scenario `play.repeats` times; transcripts in the suite's order, then repeats.

    `simulation`: makes the tools of one case from today's date, the case's faults and tools.
    `on_finished` gets each transcript as its case ends. Raises EngineError where the engine fails,
    or leaves a case without an end.
    """
    cases = {
        request_key(scenario.id, repeat): _Case(suite, scenario, repeat, play, simulation)
        for scenario in suite.scenarios
        for repeat in range(play.repeats)
    }
    finished: dict[str, Transcript] = {}

    def reply(request: Request, completion: Completion) -> Request | None:
        case = cases[request.key]
        case.advance(completion)
        if case.stop is None:
            return case.request()
        finished[request.key] = case.transcript()
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


class _Case:
    """One conversation under way. `stop` is None until it has ended."""

    def __init__(
        self, suite: Suite, scenario: Scenario, repeat: int, play: Play, make: SimulationFactory
    ) -> None:
        self._suite, self._scenario, self._repeat, self._play = suite, scenario, repeat, play
        tools = [Tool.from_openai(tool) for tool in suite.tools_of(scenario)]
        self._tools = tuple(tool.as_openai() for tool in tools)
        today = datetime.date.fromisoformat(suite.today) if suite.today else None
        # Where the first output ends the case, nothing answers its calls.
        self._simulation: Simulation | None = None
        if not suite.single_output:
            if today is None:
                raise ScenarioError(f"suite {suite.id}: its tools need a date; give `today`.")
            self._simulation = make(today, scenario.faults, tools)
        self.stop: Literal["done", "step_limit", "token_limit", "cycle"] | None = None
        self._messages: list[dict[str, Any]] = []
        self._steps: list[Step] = []
        if today is not None:
            self._say(Message("system", system_message(today)))
        for opening in scenario.opening:
            self._say(Message(opening.role, opening.content))
        self._begin(0)

    def _begin(self, turn: int) -> None:
        self._turn_number = turn
        self._steps_in_turn = self._rounds = 0
        self._answered: set[str] = set()
        self._outcomes: Counter[str] = Counter()
        self._say(Message("user", self._turn.user))

    @property
    def _turn(self) -> Turn:
        return self._scenario.turns[self._turn_number]

    def request(self) -> Request:
        """The next completion to make."""
        key = request_key(self._scenario.id, self._repeat)
        sampling = self._play.sampling_at(f"{key}/{len(self._steps)}")
        limit = self._play.max_new_tokens
        return Request(key, tuple(self._messages), self._tools, limit, sampling=sampling)

    def transcript(self) -> Transcript:
        """The record of the ended case."""
        return Transcript(
            case=self._scenario.id,
            subject=self._play.subject,
            suite=self._suite.id,
            repeat=self._repeat,
            form=self._play.form,
            messages=tuple(self._messages),
            steps=tuple(self._steps),
            stop=self.stop or "done",
        )

    def advance(self, completion: Completion) -> None:
        """Takes one model output: calls tools, lets the user speak, or ends the case."""
        text = printable(completion.text)
        parsed = parse(self._play.form, text, tools=self._tools)
        self._steps_in_turn += 1
        observations: tuple[Observation, ...] = ()
        reply: str | None = None
        number = self._turn_number
        if completion.finish == "length":
            self._say(Message("assistant", text.strip()))
            self.stop = "token_limit"
        elif not parsed.calls and parsed.error is None:
            self._say(Message("assistant", parsed.content, reasoning=parsed.reasoning))
            reply = self._user_reply(parsed.content)
        elif self._simulation is None:
            self._say(_called(parsed, text))
            self.stop = "done"
        else:
            observations = self._observe(self._simulation, parsed, text)
            self._check_bounds(parsed, observations, text)
        step = Step(
            turn=number,
            text=text,
            parse=parsed,
            observations=observations,
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            finish=completion.finish,
            seconds=completion.seconds,
            reply=reply,
        )
        self._steps.append(step)

    def _say(self, message: Message) -> None:
        self._messages.append(message.as_openai())

    def _observe(self, simulation: Simulation, parsed: Parse, text: str) -> tuple[Observation, ...]:
        """Makes all calls of an output, or none where it did not parse."""
        message = _called(parsed, text)
        self._say(message)
        observations = [simulation.call(call.name, call.arguments) for call in message.tool_calls]
        if parsed.error is not None:
            observations = [_unparsable(parsed.error)]
        for seen in observations:
            content, limit = seen.content, self._play.max_observation
            if len(content) > limit:
                content = f"{content[:limit]}……（共{len(content)}字，以下省略）"
            self._say(Message("tool", content, name=seen.tool or None))
        return tuple(observations)

    def _check_bounds(
        self, parsed: Parse, observations: tuple[Observation, ...], text: str
    ) -> None:
        if parsed.error is not None:
            self._outcomes[text] += 1
        else:
            for call, seen in zip(parsed.calls, observations, strict=True):
                self._outcomes[canonical_json([call.name, call.arguments, seen.content])] += 1
        if max(self._outcomes.values()) >= CYCLE_LENGTH:
            self.stop = "cycle"
        elif self._steps_in_turn >= self._play.max_steps:
            self.stop = "step_limit"

    def _user_reply(self, text: str) -> str | None:
        """The scripted user's answer to a question back; without one the turn has ended."""
        asked = asked_slots(self._turn, text, self._answered)
        said = answer(self._turn, asked) if asked and self._rounds < MAXIMUM_ROUNDS else None
        if said is not None:
            self._rounds += 1
            self._answered.update(asked)
            self._say(Message("user", said))
            if self._steps_in_turn >= self._play.max_steps:
                self.stop = "step_limit"
        elif self._turn is self._scenario.turns[-1]:
            self.stop = "done"
        else:
            self._begin(self._turn_number + 1)
        return said


def _called(parsed: Parse, text: str) -> Message:
    """The assistant's message with its calls, or as it stands where it did not parse."""
    if parsed.error is not None:
        return Message("assistant", text.strip())
    calls = tuple(ToolCall(call.name, call.arguments) for call in parsed.calls)
    return Message("assistant", parsed.content, calls, reasoning=parsed.reasoning)


def _unparsable(error: Detail) -> Observation:
    """What the model reads when its call could not be read, worded as the tools word errors."""
    body = {
        "reason": f"工具调用格式错误，没有执行任何调用（{said(error)}）",
        "result": None,
        "error_code": 10000,
    }
    return Observation(tool="", content=canonical_json(body), error="unparsable")
