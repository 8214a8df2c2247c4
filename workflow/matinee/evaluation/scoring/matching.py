"""Calls against accepted calls: what is wrong with one, and which belongs to which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from matinee.evaluation import plain_values, values
from matinee.evaluation.gold import as_lookup, as_verbatim, is_null
from matinee.evaluation.scoring.attempts import Attempt
from matinee.evaluation.scoring.schemas import SchemaFault, ToolSchemas, blame, shown
from matinee.messages.scenarios import GoldCall, Lookup

LookUp = Callable[[str, str], str]


@dataclass(frozen=True)
class Matcher:
    """Compares calls with accepted calls by the tools' schemas; `look_up` resolves a Lookup.

    `comparison`, `kinds`, `defaults`: how values are compared, see `Suite`.
    """

    schemas: ToolSchemas
    look_up: LookUp
    comparison: Literal["meaning", "plain"] = "meaning"
    kinds: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def problems(self, gold: GoldCall, attempt: Attempt) -> tuple[SchemaFault, ...]:
        """What is wrong with the arguments of a call of the right tool; nothing when accepted."""
        return tuple(self._problems(gold, attempt))

    def _problems(self, gold: GoldCall, attempt: Attempt) -> Iterator[SchemaFault]:
        for name, accepted in gold.arguments.items():
            options = accepted if isinstance(accepted, list) else [accepted]
            if name not in attempt.arguments or self._null_for_absent(gold.tool, name, attempt):
                if any(map(is_null, options)) and name in attempt.arguments:
                    continue
                if self.schemas.requires(gold.tool, name) and name in attempt.arguments:
                    if None not in options:
                        yield from self._value_problem(gold.tool, name, options, attempt)
                elif not self._may_be_absent(gold.tool, name, options):
                    yield blame("missing_argument", "lacks", tool=gold.tool, name=name)
            else:
                yield from self._value_problem(gold.tool, name, options, attempt)
        for name, found in attempt.arguments.items():
            if name in gold.arguments or self._null_for_absent(gold.tool, name, attempt):
                continue
            if not self._is_default(gold.tool, name, found):
                told = f"{name}={shown(found)}"
                yield blame("extra_argument", "not_asked_for", tool=gold.tool, argument=told)

    def _null_for_absent(self, tool: str, name: str, attempt: Attempt) -> bool:
        """Whether a null was written that says what absence says: only where the tool takes it."""
        schema, root = self.schemas.parameter(tool, name), self.schemas.of(tool)
        given = name in attempt.arguments and attempt.arguments[name] is None
        return given and values.takes_null(schema, root)

    def _value_problem(
        self, tool: str, name: str, options: list[Any], attempt: Attempt
    ) -> Iterator[SchemaFault]:
        found = attempt.arguments[name]
        told = f"{name}={shown(found)}"
        wanted = _lookups(options)
        plain = [o for o in options if o is not None and as_lookup(o) is None]
        if any(self._equal(tool, name, option, found) for option in plain):
            return
        if wanted and not attempt.seen(found):
            yield blame("invented_value", "returned_by_none", tool=tool, argument=told)
        elif not any(self.look_up(one.lookup, one.name) == found for one in wanted):
            accepted = [*(f"{one.lookup}({one.name})" for one in wanted), *map(shown, plain)]
            listed = " | ".join(accepted)[:160]
            yield blame("wrong_value", "accepted", tool=tool, argument=told, accepted=listed)

    def guess(self, golds: Sequence[GoldCall], attempt: Attempt) -> SchemaFault | None:
        """A value that only a tool supplies, written before any supplied it; hit or miss."""
        for gold in golds:
            for name, accepted in gold.arguments.items() if gold.tool == attempt.name else ():
                options = accepted if isinstance(accepted, list) else [accepted]
                found = attempt.arguments.get(name)
                if found is not None and _lookups(options):
                    for problem in self._value_problem(gold.tool, name, options, attempt):
                        if problem.error == "invented_value":
                            return problem
        return None

    def _may_be_absent(self, tool: str, name: str, options: list[Any]) -> bool:
        """`null` is accepted, or the default, which absence means, is one of the values.

        What the tool requires is never absent, even where it names a default.
        """
        if self.schemas.requires(tool, name):
            return False
        plain = [option for option in options if as_lookup(option) is None]
        return None in plain or any(self._is_default(tool, name, option) for option in plain)

    def _is_default(self, tool: str, name: str, found: Any) -> bool:
        schema, declared = self.schemas.parameter(tool, name), self.defaults.get(tool, {})
        if "default" not in schema and name not in declared:
            return False
        default = schema["default"] if "default" in schema else declared[name]
        return self._equal(tool, name, default, found)

    def _equal(self, tool: str, name: str, accepted: Any, found: Any) -> bool:
        verbatim = as_verbatim(accepted)
        if verbatim is not None:
            return values.equal("code", verbatim, found)
        schema = self.schemas.parameter(tool, name)
        if self.comparison == "plain":
            return plain_values.equal(schema, accepted, found)
        kind = self.kinds.get(tool, {}).get(name)
        return values.equal_by_schema(schema, accepted, found, kind, self.schemas.of(tool))

    def pair(self, golds: Sequence[GoldCall], attempts: Sequence[Attempt]) -> Pairing:
        """Assigns calls to accepted calls, one to one.

        Most accepted calls first; then calls that were carried out before refused ones, with the
        fewest wrong arguments; required before optional; of equal calls the earlier ones, in the
        order in which they came.
        """
        problems = {
            (i, j): self.problems(gold, attempt)
            for i, attempt in enumerate(attempts)
            for j, gold in enumerate(golds)
            if gold.tool == attempt.name
        }
        accepted = {
            pair
            for pair, found in problems.items()
            if not found and not attempts[pair[0]].malformed
        }
        pairs = _assign(golds, attempts, problems, accepted)
        return Pairing(
            matched={j: i for i, j in pairs if (i, j) in accepted},
            nearest={i: j for i, j in pairs if (i, j) in problems and (i, j) not in accepted},
        )


def _lookups(options: Sequence[Any]) -> list[Lookup]:
    return [wanted for wanted in map(as_lookup, options) if wanted is not None]


@dataclass(frozen=True)
class Pairing:
    """`matched`: position of an accepted call → position of the call that fulfils it.

    `nearest`: position of a call that fulfils none → the accepted call of its tool left for it.
    """

    matched: dict[int, int]
    nearest: dict[int, int]


def _assign(
    golds: Sequence[GoldCall],
    attempts: Sequence[Attempt],
    problems: dict[tuple[int, int], tuple[SchemaFault, ...]],
    accepted: set[tuple[int, int]],
) -> list[tuple[int, int]]:
    """The cheapest one-to-one assignment of calls (rows) to accepted calls (columns)."""
    if not golds or not attempts:
        return []
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    cost = np.full((len(attempts), len(golds)), 2e8)
    for pair, found in problems.items():
        refused = 5e7 if attempts[pair[0]].refused else 0
        cost[pair] = -1e11 if pair in accepted else 1e8 + refused + 1e6 * min(len(found), 40)
    # Small against all of the above: optional ones last, early calls first, and in order.
    cost += 1e5 * np.array([gold.optional for gold in golds])
    cost += 1e3 * np.arange(len(attempts))[:, None]
    cost -= np.outer(np.arange(len(attempts)), np.arange(len(golds)))
    rows, columns = linear_sum_assignment(cost)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True)]
