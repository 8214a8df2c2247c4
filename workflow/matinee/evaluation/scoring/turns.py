"""The judgement of one turn; `verdicts` says the order of decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from matinee.evaluation.asking import asked_slots, asks_after, is_question
from matinee.evaluation.scoring.attempts import PASSING, Attempt, TurnRecord
from matinee.evaluation.scoring.matching import Matcher, Pairing
from matinee.evaluation.scoring.schemas import SchemaFault, blame, shown
from matinee.messages.scenarios import Turn
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


@dataclass(frozen=True)
class TurnJudge:
    """Judges one turn. `before`: the calls of earlier turns. `stop`: why the loop ended."""

    turn: Turn
    record: TurnRecord
    before: Sequence[Attempt]
    stop: str
    matcher: Matcher

    def judgement(self) -> TurnJudgement:
        """The first fault by the order of decision, and the counts."""
        turn, record, due = self.turn, self.record, self._due
        named = self._named()
        accepted = {gold.tool for gold in turn.calls}
        seen = [one.error for step in record.steps for one in step.observations if one.error]
        if turn.ask:
            asked = bool(self._asking.asked & set(turn.ask))
        else:
            needless = bool(self._missing) and is_question(record.final_text)
            asked = needless or asks_after(turn, record.final_text)
        return TurnJudgement(
            fault=self._fault(),
            called=record.tried_to_call,
            asked=asked,
            due=len(due),
            fulfilled=len(due) - len(self._missing),
            named=named,
            tools_right={one.name for one in record.attempts} <= accepted and named == len(due),
            refused=len(seen),
            # A time-out and an empty result say nothing against a call.
            first_try=bool(turn.invalid) or PASSING.issuperset(seen),
            well_formed=record.fault is None and not any(one.parse.error for one in record.steps),
            mentioned=all(
                any(word in record.final_text for word in words) for words in turn.mention
            ),
        )

    def _fault(self) -> SchemaFault | None:
        nothing_due = all(gold.early and gold.optional for gold in self.turn.calls)
        return (
            self._asking_fault()
            or (self._uncalled_for() if nothing_due else None)
            or self._carried_out_fault()
            or self._order_fault()
            or (self._missing_fault() if self._missing else None)
            or self.record.fault
            or self._stop_fault()
            or self._reply_fault()
        )

    @cached_property
    def _pairing(self) -> Pairing:
        return self.matcher.pair(self.turn.calls, self.record.attempts)

    @cached_property
    def _due(self) -> list[int]:
        return [j for j, gold in enumerate(self.turn.calls) if not gold.optional]

    @cached_property
    def _missing(self) -> list[int]:
        return [j for j in self._due if j not in self._pairing.matched]

    def _named(self) -> int:
        """How many due calls had their tool called, each call counted once."""
        left = [attempt.name for attempt in self.record.attempts]
        count = 0
        for j in self._due:
            if self.turn.calls[j].tool in left:
                left.remove(self.turn.calls[j].tool)
                count += 1
        return count

    @cached_property
    def _free(self) -> set[int]:
        """Positions of calls that may come before what is asked."""
        return {
            position
            for position, attempt in enumerate(self.record.attempts)
            if any(
                gold.early
                and gold.tool == attempt.name
                and not self.matcher.problems(gold, attempt)
                for gold in self.turn.calls
            )
            # The tool itself said what is wrong with the value.
            or (self.turn.invalid and attempt.refused)
        }

    @cached_property
    def _asking(self) -> _Asking:
        asked: set[str] = set()
        questions = 0
        too_early: Attempt | None = None
        broke_early: SchemaFault | None = None
        for offset, step in enumerate(self.record.steps):
            if self._settled(asked):
                break
            if step.parse.calls or step.parse.error:
                made = self._attempts_of(self.record.first_step + offset)
                early = [attempt for i, attempt in made if i not in self._free]
                if made and not early:
                    continue
                too_early = early[0] if early else None
                broke_early = _unread(step)
                break
            if (broke_early := self.record.faults[offset]) is not None:
                break
            asked.update(asked_slots(self.turn, step.parse.content, asked))
            questions += is_question(step.parse.content)
        return _Asking(frozenset(asked), self._settled(asked), questions, too_early, broke_early)

    def _attempts_of(self, step: int) -> list[tuple[int, Attempt]]:
        return [(i, one) for i, one in enumerate(self.record.attempts) if one.step == step]

    def _settled(self, asked: set[str]) -> bool:
        """All that must be asked was, or the user said that he does not know one of these."""
        due = {*self.turn.ask, *self.turn.invalid}
        return due <= asked or any(self.turn.slots[name].answer is None for name in due & asked)

    def _asking_fault(self) -> SchemaFault | None:
        turn, asking = self.turn, self._asking
        if asking.complete:
            return None
        wanted = ", ".join(name for name in (*turn.ask, *turn.invalid) if name not in asking.asked)
        if asking.too_early is not None:
            return self._too_early(asking.too_early, wanted)
        if asking.broke_early is not None:
            return _told(asking.broke_early, "before_asking", wanted=wanted)
        if asking.questions and not asking.asked & set(turn.ask):
            return blame("asked_wrong_thing", "asked_otherwise", wanted=wanted)
        return blame("gave_up", "not_invalid" if turn.invalid else "neither", wanted=wanted)

    def _too_early(self, attempt: Attempt, wanted: str) -> SchemaFault:
        calls, problem = self.turn.calls, attempt.problem
        told = {"call": shown(attempt.name), "wanted": wanted}
        strange = bool(calls) and attempt.name not in {gold.tool for gold in calls}
        if problem is not None and (problem.error == "unknown_tool" or not strange):
            return _told(problem, "called_before_asking_and", **told)
        error: ErrorClass = "wrong_tool" if strange else "invented_value"
        if not strange and not attempt.arguments:
            error = "wrong_order" if calls else "unneeded_call"
        return blame(error, "called_before_asking", **told)

    def _uncalled_for(self) -> SchemaFault | None:
        attempts = [one for i, one in enumerate(self.record.attempts) if i not in self._free]
        if attempts:
            name = shown(attempts[0].name)
            if self.turn.ask and attempts[0].arguments:
                return blame("invented_value", "called_unknowing", call=name)
            return blame("unneeded_call", "called_for_nothing", call=name)
        for step in self.record.steps:
            if step.parse.error is not None:
                return _told(_unparsable(step), "for_nothing")
            if step.parse.calls and not self._free:
                return blame("unneeded_call", "began_for_nothing")
        return None

    def _carried_out_fault(self) -> SchemaFault | None:
        attempts = self.record.attempts
        fulfilling = set(self._pairing.matched.values())
        done = {attempt.key for attempt in self.before if attempt.answered}
        accepted = {attempts[i].key for i in fulfilling}
        excused = {attempts[i].key for i in fulfilling if attempts[i].refused}
        for position, attempt in enumerate(attempts):
            guessed = self.matcher.guess(self.turn.calls, attempt)
            if guessed is not None:
                return guessed
            stray = position not in fulfilling and not attempt.refused
            again = position not in fulfilling and attempt.answered and attempt.key in done
            # A wrong call that found nothing is blamed for what was wrong with it.
            if again and (stray or attempt.key in accepted):
                return blame("repeated_call", "called_again", tool=attempt.name)
            if stray and attempt.key not in excused:
                return self._diagnosis(position)
            if attempt.answered:
                done.add(attempt.key)
        return None

    def _diagnosis(self, position: int) -> SchemaFault:
        """What is wrong with a call that fulfils nothing."""
        golds, attempt = self.turn.calls, self.record.attempts[position]
        problem = attempt.problem
        same_tool = [gold for gold in golds if gold.tool == attempt.name]
        if not same_tool and (problem is None or problem.error != "unknown_tool"):
            due = ", ".join(dict.fromkeys(gold.tool for gold in golds))
            return blame("wrong_tool", "called_other", call=shown(attempt.name), accepted=due)
        if problem is not None:
            return problem
        # A refused attempt may have lost its place to the correct one that followed.
        nearest = self._pairing.nearest.get(position)
        if nearest is None and not attempt.refused:
            return blame("unneeded_call", "one_more", tool=attempt.name)
        gold = same_tool[0] if nearest is None else golds[nearest]
        problems = self.matcher.problems(gold, attempt)
        if problems:
            return problems[0]
        said = shown(attempt.observation.content if attempt.observation else "")
        return blame("schema_violation", "tool_refused", tool=attempt.name, said=said)

    def _order_fault(self) -> SchemaFault | None:
        matched = self._pairing.matched
        for j, gold in enumerate(self.turn.calls):
            for earlier in gold.after:
                if j in matched and earlier in matched:
                    first = self.record.attempts[matched[earlier]]
                    if first.step >= self.record.attempts[matched[j]].step:
                        return blame("wrong_order", "no_wait", tool=gold.tool, other=first.name)
        return None

    def _missing_fault(self) -> SchemaFault:
        turn, record = self.turn, self.record
        unmade = blame("missing_call", "never_called", tool=turn.calls[self._missing[0]].tool)
        found = self._unmended() or record.fault or self._stop_fault()
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

    def _unmended(self) -> SchemaFault | None:
        """The first failed attempt that no later call made good."""
        attempts = self.record.attempts
        fulfilling = set(self._pairing.matched.values())
        for number, step in enumerate(self.record.steps, start=self.record.first_step):
            if step.parse.error is not None and not any(a.step > number for a in attempts):
                return _unread(step)
            for position, attempt in self._attempts_of(number):
                mended = any(
                    later.name == attempt.name and not later.refused
                    for later in attempts[position + 1 :]
                )
                if attempt.refused and position not in fulfilling and not mended:
                    return self._diagnosis(position)
        return None

    def _stop_fault(self) -> SchemaFault | None:
        """Where the loop was stopped in this turn, or before it."""
        if not self.record.steps:
            return blame("step_limit", "never_reached")
        if self.stop == "done" or not self.record.last:
            return None
        if self.stop == "cycle":
            return blame("repeated_call", "cycle")
        if self.stop == "step_limit":
            return blame("step_limit", "step_limit")
        return blame("cut_off", "cut_off")

    def _reply_fault(self) -> SchemaFault | None:
        """What the reply that ends the turn lacks."""
        turn, text = self.turn, self.record.final_text
        if turn.ask_after and not asks_after(turn, text):
            error: ErrorClass = "asked_wrong_thing" if is_question(text) else "gave_up"
            return blame(error, "not_asked_after", wanted=", ".join(turn.ask_after))
        for words in turn.must_say:
            if not any(word in text for word in words):
                return blame("unsaid", "unsaid", wanted=" | ".join(words))
        return None


def _told(found: SchemaFault, key: str, **values: str) -> SchemaFault:
    """The same fault, and where it stood."""
    return blame(found.error, key, detail=found.detail, **values)


def _unparsable(step: Step) -> SchemaFault:
    return blame("unparsable", "unparsable", said=step.parse.error or "")


def _unread(step: Step) -> SchemaFault:
    """Why the calls of an output were not made."""
    return blame("cut_off", "cut_off") if step.finish == "length" else _unparsable(step)
