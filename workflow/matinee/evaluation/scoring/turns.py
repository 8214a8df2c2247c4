"""The judgement of one turn; `verdicts` says the order of decision."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from matinee.evaluation.asking import asked_slots, asks_after, is_question
from matinee.evaluation.scoring.attempts import Attempt, TurnRecord
from matinee.evaluation.scoring.matching import Matcher, Pairing
from matinee.evaluation.scoring.schemas import shown
from matinee.messages.scenarios import GoldCall, Turn
from matinee.messages.transcripts import ErrorClass


@dataclass(frozen=True)
class Fault:
    """One thing that went wrong."""

    error: ErrorClass
    detail: str


@dataclass(frozen=True)
class TurnJudgement:
    """What one turn is worth, and what the metrics count.

    `asked`: a question that was due was asked, or one was asked instead of a call. `due`,
    `fulfilled`: accepted calls that are not optional, and those made. `named`: of the due ones,
    those whose tool was called at all. `tools_right`: the due tools and no others were called.
    """

    fault: Fault | None
    called: bool
    asked: bool
    due: int
    fulfilled: int
    named: int
    tools_right: bool
    refused: int
    mentioned: bool


@dataclass(frozen=True)
class _Asking:
    """What was asked in a turn that must ask, up to its first call."""

    asked: frozenset[str]
    complete: bool
    questions: int
    too_early: Attempt | None
    broke_early: str | None


def judge_turn(
    turn: Turn,
    record: TurnRecord,
    before: Sequence[Attempt],
    stop: str,
    matcher: Matcher,
) -> TurnJudgement:
    """Judges one turn. `before`: the calls of earlier turns. `stop`: why the loop ended."""
    early = {
        position
        for position, attempt in enumerate(record.attempts)
        if any(
            gold.early and gold.tool == attempt.name and not matcher.problems(gold, attempt)
            for gold in turn.calls
        )
        or (turn.invalid and attempt.refused)  # the tool itself said what is wrong with the value
    }
    asking = _asking(turn, record, early)
    pairing = matcher.pair(turn.calls, record.attempts)
    due = [j for j, gold in enumerate(turn.calls) if not gold.optional]
    missing = [j for j in due if j not in pairing.matched]
    fault = _asking_fault(turn, asking)
    if fault is None and all(gold.early and gold.optional for gold in turn.calls):
        fault = _uncalled_for(turn, record, early)
    if fault is None:
        fault = _carried_out_fault(turn, record, before, pairing, matcher)
    if fault is None:
        fault = _order_fault(turn, record, pairing)
    if fault is None and missing:
        fault = _missing_fault(turn, record, pairing, missing[0], stop, matcher)
    if fault is None:
        fault = _stop_fault(record, stop)
    if fault is None:
        fault = _reply_fault(turn, record)
    names = [attempt.name for attempt in record.attempts]
    needless = bool(missing) and is_question(record.final_text)
    return TurnJudgement(
        fault=fault,
        called=record.tried_to_call,
        asked=bool(asking.asked & set(turn.ask))
        if turn.ask
        else needless or asks_after(turn, record.final_text),
        due=len(due),
        fulfilled=len(due) - len(missing),
        named=_named(turn.calls, due, names),
        tools_right=_tools_right(turn.calls, due, names),
        refused=sum(1 for step in record.steps for seen in step.observations if seen.error),
        mentioned=all(any(word in record.final_text for word in words) for words in turn.mention),
    )


def _asking(turn: Turn, record: TurnRecord, free: Collection[int]) -> _Asking:
    """`free`: positions of calls that may come before what is asked."""
    asked: set[str] = set()
    questions = 0
    too_early: Attempt | None = None
    broke_early: str | None = None
    for position, step in enumerate(record.steps, start=record.first_step):
        if _settled(turn, asked):
            break
        if step.parse.calls or step.parse.error:
            made = [i for i, attempt in enumerate(record.attempts) if attempt.step == position]
            early = [record.attempts[i] for i in made if i not in free]
            if made and not early:
                continue
            too_early = early[0] if early else None
            broke_early = step.parse.error or "the output was cut off"
            break
        asked.update(asked_slots(turn, step.parse.content, asked))
        questions += is_question(step.parse.content)
    return _Asking(frozenset(asked), _settled(turn, asked), questions, too_early, broke_early)


def _settled(turn: Turn, asked: set[str]) -> bool:
    """All that must be asked was, or the user said that he does not know one of these things."""
    due = {*turn.ask, *turn.invalid}
    return due <= asked or any(turn.slots[name].answer is None for name in due & asked)


def _asking_fault(turn: Turn, asking: _Asking) -> Fault | None:
    if asking.complete:
        return None
    wanted = ", ".join(name for name in (*turn.ask, *turn.invalid) if name not in asking.asked)
    if asking.too_early is not None:
        return _too_early(turn, asking.too_early, wanted)
    if asking.broke_early is not None:
        return Fault(
            "unparsable",
            f"tried to call before asking for {wanted}: {asking.broke_early}",
        )
    if asking.questions and not asking.asked & set(turn.ask):
        return Fault("asked_wrong_thing", f"asked back, but not for {wanted}")
    if turn.invalid:
        return Fault("gave_up", f"did not say what is wrong with {wanted}")
    return Fault("gave_up", f"neither called anything nor asked for {wanted}")


def _too_early(turn: Turn, attempt: Attempt, wanted: str) -> Fault:
    told = f"called {shown(attempt.name)} before asking for {wanted}"
    if attempt.problem is not None:
        return Fault(attempt.problem.error, f"{told}: {attempt.problem.detail}")
    if turn.calls and attempt.name not in {gold.tool for gold in turn.calls}:
        return Fault("wrong_tool", told)
    if not attempt.arguments:
        return Fault("wrong_order" if turn.calls else "unneeded_call", told)
    return Fault("invented_value", told)


def _uncalled_for(turn: Turn, record: TurnRecord, free: Collection[int]) -> Fault | None:
    attempts = [one for i, one in enumerate(record.attempts) if i not in free]
    if attempts:
        name = shown(attempts[0].name)
        if turn.ask and attempts[0].arguments:
            return Fault("invented_value", f"called {name} although the user did not know")
        return Fault("unneeded_call", f"called {name} where nothing was to be called")
    for step in record.steps:
        if step.parse.error is not None:
            return Fault("unparsable", f"where nothing was to be called: {step.parse.error}")
        if step.parse.calls and not free:
            return Fault("unneeded_call", "began a call where nothing was to be called")
    return None


def _carried_out_fault(
    turn: Turn,
    record: TurnRecord,
    before: Sequence[Attempt],
    pairing: Pairing,
    matcher: Matcher,
) -> Fault | None:
    fulfilling = set(pairing.matched.values())
    earlier: dict[str, bool] = {}  # key → was it carried out
    for attempt in before:
        earlier[attempt.key] = earlier.get(attempt.key, False) or not attempt.refused
    excused = {record.attempts[i].key for i in fulfilling if record.attempts[i].refused}
    for position, attempt in enumerate(record.attempts):
        stray = position not in fulfilling and not attempt.refused
        if stray and earlier.get(attempt.key, False):
            return Fault("repeated_call", f"called {attempt.name} again with the same arguments")
        if stray and attempt.key not in excused:
            return _diagnosis(turn.calls, position, attempt, pairing, matcher)
        earlier[attempt.key] = earlier.get(attempt.key, False) or not attempt.refused
    return None


def _diagnosis(
    golds: Sequence[GoldCall],
    position: int,
    attempt: Attempt,
    pairing: Pairing,
    matcher: Matcher,
) -> Fault:
    """What is wrong with a call that fulfils nothing."""
    if attempt.problem is not None:
        return Fault(attempt.problem.error, attempt.problem.detail)
    same_tool = [j for j, gold in enumerate(golds) if gold.tool == attempt.name]
    if not same_tool:
        due = ", ".join(dict.fromkeys(gold.tool for gold in golds))
        return Fault("wrong_tool", f"called {shown(attempt.name)}; accepted: {due}")
    # A refused attempt may have lost its place to the correct one that followed.
    nearest = pairing.nearest.get(position)
    if nearest is None and not attempt.refused:
        return Fault("unneeded_call", f"one more call of {attempt.name} than accepted")
    problems = matcher.problems(golds[same_tool[0] if nearest is None else nearest], attempt)
    if problems:
        return Fault(problems[0].error, problems[0].detail)
    said = attempt.observation.content if attempt.observation else ""
    return Fault("schema_violation", f"{attempt.name} refused the arguments: {shown(said)}")


def _order_fault(turn: Turn, record: TurnRecord, pairing: Pairing) -> Fault | None:
    for j, gold in enumerate(turn.calls):
        for earlier in gold.after:
            if j not in pairing.matched or earlier not in pairing.matched:
                continue
            first = record.attempts[pairing.matched[earlier]]
            if first.step >= record.attempts[pairing.matched[j]].step:
                return Fault("wrong_order", f"{gold.tool} did not wait for {first.name}")
    return None


def _missing_fault(
    turn: Turn,
    record: TurnRecord,
    pairing: Pairing,
    missing: int,
    stop: str,
    matcher: Matcher,
) -> Fault:
    wanted = f"{turn.calls[missing].tool} was never called as accepted"
    unmended = _unmended(turn, record, pairing, matcher)
    if unmended is not None:
        return unmended
    halted = _stop_fault(record, stop)
    if halted is not None:
        return halted
    if is_question(record.final_text):
        return Fault("asked_needlessly", f"asked back although all was known; {wanted}")
    if not record.attempts:
        if turn.ask:
            return Fault("gave_up", f"no call after the user's answer; {wanted}")
        return Fault("no_call", wanted)
    last = [step for step in record.steps if step.observations]
    if last and any(seen.error for seen in last[-1].observations):
        return Fault("gave_up", f"stopped after an error; {wanted}")
    return Fault("missing_call", wanted)


def _unmended(turn: Turn, record: TurnRecord, pairing: Pairing, matcher: Matcher) -> Fault | None:
    """The first failed attempt that no later call made good."""
    fulfilling = set(pairing.matched.values())
    for number, step in enumerate(record.steps, start=record.first_step):
        if step.parse.error is not None and not any(a.step > number for a in record.attempts):
            return Fault("unparsable", step.parse.error)
        for position, attempt in enumerate(record.attempts):
            if attempt.step != number or not attempt.refused or position in fulfilling:
                continue
            mended = any(
                later.name == attempt.name and not later.refused
                for later in record.attempts[position + 1 :]
            )
            if not mended:
                return _diagnosis(turn.calls, position, attempt, pairing, matcher)
    return None


def _stop_fault(record: TurnRecord, stop: str) -> Fault | None:
    """Where the loop was stopped in this turn, or before it."""
    if not record.steps:
        return Fault("step_limit", "the turn was never reached")
    if stop == "done" or not record.last:
        return None
    if stop == "cycle":
        return Fault("repeated_call", "made the same call with the same result three times")
    limit = "steps" if stop == "step_limit" else "tokens"
    return Fault("step_limit", f"ran into the limit of {limit}")


def _reply_fault(turn: Turn, record: TurnRecord) -> Fault | None:
    """What the reply that ends the turn lacks."""
    if turn.ask_after and not asks_after(turn, record.final_text):
        error: ErrorClass = "asked_wrong_thing" if is_question(record.final_text) else "gave_up"
        return Fault(error, f"did not ask for {', '.join(turn.ask_after)} after the result")
    for words in turn.must_say:
        if not any(word in record.final_text for word in words):
            return Fault("unsaid", f"did not say: {' or '.join(words)}")
    return None


def _named(golds: Sequence[GoldCall], due: Sequence[int], names: Sequence[str]) -> int:
    """How many due calls had their tool called, each call counted once."""
    left = list(names)
    count = 0
    for j in due:
        if golds[j].tool in left:
            left.remove(golds[j].tool)
            count += 1
    return count


def _tools_right(golds: Sequence[GoldCall], due: Sequence[int], names: Sequence[str]) -> bool:
    accepted = {gold.tool for gold in golds}
    return set(names) <= accepted and _named(golds, due, names) == len(due)
