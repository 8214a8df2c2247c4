"""The verdict on a transcript: turn by turn, the first fault by this order of decision.

Principle: a case succeeds when all accepted calls and no others were carried out, after the
questions that were due. A call that was refused (not parsed, against the schema, an error from
the tool) was not carried out: the model may correct it, and is not blamed for it afterwards. But
an accepted call that found nothing, made again, is blamed: its tool did what was asked.

1. Something must be asked: a call before that is at fault (`wrong_tool`; its form; `wrong_order`
   without arguments; else `invented_value`); an output that is no reply (see 7); never asked:
   `asked_wrong_thing` where something else was asked, else `gave_up`. A user who does not know
   ends the asking.
2. No call is accepted: any attempt is `unneeded_call` (`unparsable` where it broke on the way,
   `invented_value` after the user said that he does not know).
3. Calls in order of time: a value that only a tool supplies, written before one did, is
   `invented_value`, hit or miss. Then those carried out but not accepted: `repeated_call` (the same
   was carried out before; after an error it is a retry and free), `wrong_tool`, then against the
   accepted call that is nearest: `missing_argument`, `extra_argument`, `invented_value`,
   `wrong_value`; `unneeded_call` where the tool's accepted calls are all taken.
4. `wrong_order`: a call in the same output as, or before, one that it must come after.
5. An accepted call is missing. Why: the first refused attempt that nothing made good
   (`unparsable`, `wrong_tool`, its form, its values); an output that is no reply; `repeated_call`
   (cycle); `step_limit`; `asked_needlessly`; `gave_up` (after an error or an answer); `no_call`
   (nothing was called); `missing_call`.
6. The loop was stopped although all was called: `repeated_call` (cycle), `step_limit`.
7. An output without a call must be a reply, wherever one is due: it holds no call in any other form
   (`call_in_other_form`), is no copy of the prompt (`echo`), no noise (`garbage`), not `empty`, and
   ended by itself (`cut_off`).

An argument whose accepted value is a Lookup must have stood in an earlier result or user message.
In a suite of single outputs (`Suite.single_output`) nothing answers a call, so that none is refused
or mended: every call of the output counts, and accepted is what the gold accepts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from matinee.evaluation.scoring.attempts import Attempt, turn_records
from matinee.evaluation.scoring.matching import LookUp, Matcher
from matinee.evaluation.scoring.metrics import Played, case_metrics
from matinee.evaluation.scoring.schemas import ToolSchemas
from matinee.evaluation.scoring.turns import TurnJudge
from matinee.evaluation.simulation import lookup
from matinee.messages.parsing import CallForm, parse
from matinee.messages.scenarios import Scenario, Suite
from matinee.messages.transcripts import Detail, Transcript, Verdict


def score(
    scenario: Scenario,
    transcript: Transcript,
    tools: Sequence[dict[str, Any]],
    look_up: LookUp = lookup,
    declared: Suite | None = None,
) -> Verdict:
    """The verdict on one transcript; see the module's order of decision.

    `tools`: in OpenAI's form or bare. `look_up(kind, name)`: what a gold Lookup stands for.
    `declared`: a suite whose kinds and defaults hold.
    """
    matcher = Matcher(ToolSchemas(tools), look_up)
    if declared is not None:
        matcher = replace(matcher, kinds=declared.kinds, defaults=declared.defaults)
    return _score(scenario, transcript, matcher)


def score_suite(
    suite: Suite, transcripts: Iterable[Transcript], look_up: LookUp = lookup
) -> list[Verdict]:
    """Verdicts in the order of the transcripts. Raises KeyError for a case the suite lacks."""
    scenarios = {scenario.id: scenario for scenario in suite.scenarios}
    shared = Matcher(ToolSchemas(suite.tools), look_up, suite.values, suite.kinds, suite.defaults)
    own: dict[str, Matcher] = {}
    verdicts = []
    for transcript in transcripts:
        scenario = scenarios[transcript.case]
        if scenario.tools and scenario.id not in own:
            own[scenario.id] = replace(shared, schemas=ToolSchemas(scenario.tools))
        matcher = own.get(scenario.id, shared)
        verdicts.append(_score(scenario, transcript, matcher, single_output=suite.single_output))
    return verdicts


def _score(
    scenario: Scenario, transcript: Transcript, matcher: Matcher, *, single_output: bool = False
) -> Verdict:
    records = turn_records(scenario, transcript, matcher.schemas, final=single_output)
    before: list[Attempt] = []
    judgements = []
    for turn, record in zip(scenario.turns, records, strict=True):
        # By the first list of accepted calls without a fault; else by the first.
        ways = (turn.model_copy(update={"calls": calls}) for calls in turn.ways)
        judges = (TurnJudge(way, record, before, transcript.stop, matcher) for way in ways)
        ends = [judge.judgement() for judge in judges]
        judgements.append(next((one for one in ends if one.fault is None), ends[0]))
        before = [*before, *record.attempts]
    faults = [(number, one.fault) for number, one in enumerate(judgements, 1) if one.fault]
    error, detail = None, Detail(key="as_accepted")
    if faults:
        number, found = faults[0]
        error, detail = found.error, found.detail
        if len(scenario.turns) > 1:
            detail = Detail(key="turn", values={"number": number, "detail": detail})
    return Verdict(
        case=transcript.case,
        subject=transcript.subject,
        suite=transcript.suite,
        category=scenario.category,
        family=scenario.family,
        repeat=transcript.repeat,
        success=error is None,
        error=error,
        detail=detail,
        metrics=case_metrics(Played(scenario, transcript, judgements, single_output)),
    )


def reparse(
    transcript: Transcript,
    form: CallForm,
    lenient: bool = False,
    tools: Sequence[dict[str, Any]] = (),
) -> Transcript:
    """The transcript with every step's text parsed anew, in the form that the run noted.

    `form`: for runs that noted none. `tools`: those of the case. Observations and messages stay as
    they were in the run: a call that only the new parse finds has none, and is judged by its
    arguments alone.
    """
    form = transcript.form or form
    steps = tuple(
        step.model_copy(update={"parse": parse(form, step.text, lenient=lenient, tools=tools)})
        for step in transcript.steps
    )
    return transcript.model_copy(update={"steps": steps})


def score_both_ways(
    suite: Suite, transcripts: Sequence[Transcript], form: CallForm, look_up: LookUp = lookup
) -> list[Verdict]:
    """Strict verdicts with the metric `lenient_success`; in the order of the transcripts.

    It is true where the case succeeds by the lenient parse alone. Nothing is run again: a repaired
    call has no result from which a chain could go on, and one that the model then wrote rightly is
    not counted twice. It is the least that a forgiving parser would have made of the run.
    """
    strict = score_suite(suite, transcripts, look_up)
    tools = {case.id: suite.tools_of(case) for case in suite.scenarios}
    repaired = [reparse(one, form, lenient=True, tools=tools[one.case]) for one in transcripts]
    lenient = score_suite(suite, repaired, look_up)
    return [
        one.model_copy(update={"metrics": one.metrics | {"lenient_success": other.success}})
        for one, other in zip(strict, lenient, strict=True)
    ]
