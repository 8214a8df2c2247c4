"""The judgement of one turn; `verdicts` says the order of decision."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from matinee.evaluation.asking import asked_slots, asks_after, is_question
from matinee.evaluation.scoring.attempts import PASSING, Attempt, TurnRecord
from matinee.evaluation.scoring.matching import Matcher, Pairing
from matinee.evaluation.scoring.schemas import SchemaFault, blame, shown
from matinee.messages.scenarios import GoldCall, Turn
from matinee.messages.transcripts import ErrorClass, Step


@dataclass(frozen=True)
class TurnJudgement:
    """What one turn is worth, and what the metrics count.

    `asked`: a question that was due was asked, or one was asked instead of a call. `due`,
    `fulfilled`: accepted calls that are not optional, and those made. `named`: of the due ones,
    those whose tool was called at all. `tools_right`: the due tools and no others were called.
    `first_try`: no call was refused for what it says. `well_formed`: every output could be read.
    """

    fault: SchemaFault | None
    called: bool
    asked: bool
    due: int
    fulfilled: int
    named: int
    tools_right: bool
    refused: int
    first_try: bool
    well_formed: bool
    mentioned: bool


@dataclass(frozen=True)
class _Asking:
    """What was asked in a turn that must ask, up to its first call."""

    asked: frozenset[str]
    complete: bool
    questions: int
    too_early: Attempt | None
    broke_early: SchemaFault | None


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
    nothing_due = all(gold.early and gold.optional for gold in turn.calls)
    found = (
        _asking_fault(turn, asking)
        or (_uncalled_for(turn, record, early) if nothing_due else None)
        or _carried_out_fault(turn, record, before, pairing, matcher)
        or _order_fault(turn, record, pairing)
        or (_missing_fault(turn, record, pairing, missing[0], stop, matcher) if missing else None)
        or record.fault
        or _stop_fault(record, stop)
        or _reply_fault(turn, record)
    )
    names = [attempt.name for attempt in record.attempts]
    needless = bool(missing) and is_question(record.final_text)
    return TurnJudgement(
        fault=found,
        called=record.tried_to_call,
        asked=bool(asking.asked & set(turn.ask))
        if turn.ask
        else needless or asks_after(turn, record.final_text),
        due=len(due),
        fulfilled=len(due) - len(missing),
        named=_named(turn.calls, due, names),
        tools_right=_tools_right(turn.calls, due, names),
        refused=sum(1 for step in record.steps for seen in step.observations if seen.error),
        first_try=_first_try(turn, record),
        well_formed=record.fault is None and not any(one.parse.error for one in record.steps),
        mentioned=all(any(word in record.final_text for word in words) for words in turn.mention),
    )


def _asking(turn: Turn, record: TurnRecord, free: Collection[int]) -> _Asking:
    """`free`: positions of calls that may come before what is asked."""
    asked: set[str] = set()
    questions = 0
    too_early: Attempt | None = None
    broke_early: SchemaFault | None = None
    for offset, step in enumerate(record.steps):
        if _settled(turn, asked):
            break
        position = record.first_step + offset
        if step.parse.calls or step.parse.error:
            made = [i for i, attempt in enumerate(record.attempts) if attempt.step == position]
            early = [record.attempts[i] for i in made if i not in free]
            if made and not early:
                continue
            too_early = early[0] if early else None
            broke_early = _unread(step)
            break
        if (broke_early := record.faults[offset]) is not None:
            break
        asked.update(asked_slots(turn, step.parse.content, asked))
        questions += is_question(step.parse.content)
    return _Asking(frozenset(asked), _settled(turn, asked), questions, too_early, broke_early)


def _settled(turn: Turn, asked: set[str]) -> bool:
    """All that must be asked was, or the user said that he does not know one of these things."""
    due = {*turn.ask, *turn.invalid}
    return due <= asked or any(turn.slots[name].answer is None for name in due & asked)


def _asking_fault(turn: Turn, asking: _Asking) -> SchemaFault | None:
    if asking.complete:
        return None
    wanted = ", ".join(name for name in (*turn.ask, *turn.invalid) if name not in asking.asked)
    if asking.too_early is not None:
        return _too_early(turn, asking.too_early, wanted)
    if asking.broke_early is not None:
        return _told(asking.broke_early, "before_asking", wanted=wanted)
    if asking.questions and not asking.asked & set(turn.ask):
        return blame("asked_wrong_thing", "asked_otherwise", wanted=wanted)
    return blame("gave_up", "not_invalid" if turn.invalid else "neither", wanted=wanted)


def _told(found: SchemaFault, key: str, **values: str) -> SchemaFault:
    """The same fault, and where it stood."""
    return blame(found.error, key, detail=found.detail, **values)


def _too_early(turn: Turn, attempt: Attempt, wanted: str) -> SchemaFault:
    told = {"call": shown(attempt.name), "wanted": wanted}
    if attempt.problem is not None and attempt.problem.error == "unknown_tool":
        return _told(attempt.problem, "called_before_asking_and", **told)
    if turn.calls and attempt.name not in {gold.tool for gold in turn.calls}:
        return blame("wrong_tool", "called_before_asking", **told)
    if attempt.problem is not None:
        return _told(attempt.problem, "called_before_asking_and", **told)
    error: ErrorClass = "invented_value"
    if not attempt.arguments:
        error = "wrong_order" if turn.calls else "unneeded_call"
    return blame(error, "called_before_asking", **told)


def _uncalled_for(turn: Turn, record: TurnRecord, free: Collection[int]) -> SchemaFault | None:
    attempts = [one for i, one in enumerate(record.attempts) if i not in free]
    if attempts:
        name = shown(attempts[0].name)
        if turn.ask and attempts[0].arguments:
            return blame("invented_value", "called_unknowing", call=name)
        return blame("unneeded_call", "called_for_nothing", call=name)
    for step in record.steps:
        if step.parse.error is not None:
            return _told(_unparsable(step), "for_nothing")
        if step.parse.calls and not free:
            return blame("unneeded_call", "began_for_nothing")
    return None


def _unparsable(step: Step) -> SchemaFault:
    return blame("unparsable", "unparsable", said=step.parse.error or "")


def _unread(step: Step) -> SchemaFault:
    """Why the calls of an output were not made."""
    if step.finish == "length":
        return blame("cut_off", "cut_off")
    return _unparsable(step)


def _carried_out_fault(
    turn: Turn,
    record: TurnRecord,
    before: Sequence[Attempt],
    pairing: Pairing,
    matcher: Matcher,
) -> SchemaFault | None:
    fulfilling = set(pairing.matched.values())
    earlier: dict[str, bool] = {}  # key → was it carried out
    for attempt in before:
        earlier[attempt.key] = earlier.get(attempt.key, False) or not attempt.refused
    excused = {record.attempts[i].key for i in fulfilling if record.attempts[i].refused}
    for position, attempt in enumerate(record.attempts):
        guessed = matcher.guess(turn.calls, attempt)
        if guessed is not None:
            return guessed
        stray = position not in fulfilling and not attempt.refused
        if stray and earlier.get(attempt.key, False):
            return blame("repeated_call", "called_again", tool=attempt.name)
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
) -> SchemaFault:
    """What is wrong with a call that fulfils nothing."""
    problem = attempt.problem
    same_tool = [j for j, gold in enumerate(golds) if gold.tool == attempt.name]
    if not same_tool and (problem is None or problem.error != "unknown_tool"):
        due = ", ".join(dict.fromkeys(gold.tool for gold in golds))
        return blame("wrong_tool", "called_other", call=shown(attempt.name), accepted=due)
    if problem is not None:
        return problem
    # A refused attempt may have lost its place to the correct one that followed.
    nearest = pairing.nearest.get(position)
    if nearest is None and not attempt.refused:
        return blame("unneeded_call", "one_more", tool=attempt.name)
    problems = matcher.problems(golds[same_tool[0] if nearest is None else nearest], attempt)
    if problems:
        return problems[0]
    said = shown(attempt.observation.content if attempt.observation else "")
    return blame("schema_violation", "tool_refused", tool=attempt.name, said=said)


def _order_fault(turn: Turn, record: TurnRecord, pairing: Pairing) -> SchemaFault | None:
    for j, gold in enumerate(turn.calls):
        for earlier in gold.after:
            if j not in pairing.matched or earlier not in pairing.matched:
                continue
            first = record.attempts[pairing.matched[earlier]]
            if first.step >= record.attempts[pairing.matched[j]].step:
                return blame("wrong_order", "no_wait", tool=gold.tool, other=first.name)
    return None


def _missing_fault(
    turn: Turn,
    record: TurnRecord,
    pairing: Pairing,
    missing: int,
    stop: str,
    matcher: Matcher,
) -> SchemaFault:
    unmade = blame("missing_call", "never_called", tool=turn.calls[missing].tool)
    found = _unmended(turn, record, pairing, matcher) or record.fault or _stop_fault(record, stop)
    if found is not None:
        return found
    if is_question(record.final_text):
        return blame("asked_needlessly", "asked_knowing", detail=unmade.detail)
    if not record.attempts:
        if turn.ask:
            return blame("gave_up", "no_call_after_answer", detail=unmade.detail)
        return SchemaFault("no_call", unmade.detail)
    last = [step for step in record.steps if step.observations]
    if last and any(seen.error for seen in last[-1].observations):
        return blame("gave_up", "stopped_after_error", detail=unmade.detail)
    return unmade


def _unmended(
    turn: Turn, record: TurnRecord, pairing: Pairing, matcher: Matcher
) -> SchemaFault | None:
    """The first failed attempt that no later call made good."""
    fulfilling = set(pairing.matched.values())
    for number, step in enumerate(record.steps, start=record.first_step):
        if step.parse.error is not None and not any(a.step > number for a in record.attempts):
            return _unread(step)
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


def _stop_fault(record: TurnRecord, stop: str) -> SchemaFault | None:
    """Where the loop was stopped in this turn, or before it."""
    if not record.steps:
        return blame("step_limit", "never_reached")
    if stop == "done" or not record.last:
        return None
    if stop == "cycle":
        return blame("repeated_call", "cycle")
    if stop == "step_limit":
        return blame("step_limit", "step_limit")
    return blame("cut_off", "cut_off")


def _reply_fault(turn: Turn, record: TurnRecord) -> SchemaFault | None:
    """What the reply that ends the turn lacks."""
    if turn.ask_after and not asks_after(turn, record.final_text):
        error: ErrorClass = "asked_wrong_thing" if is_question(record.final_text) else "gave_up"
        return blame(error, "not_asked_after", wanted=", ".join(turn.ask_after))
    for words in turn.must_say:
        if not any(word in record.final_text for word in words):
            return blame("unsaid", "unsaid", wanted=" | ".join(words))
    return None


def _first_try(turn: Turn, record: TurnRecord) -> bool:
    """Nothing was refused for what it says; a time-out and an empty result say nothing."""
    errors = [seen.error for step in record.steps for seen in step.observations]
    return bool(turn.invalid) or not any(error and error not in PASSING for error in errors)


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
