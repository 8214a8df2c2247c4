"""How the next token is chosen: the likeliest, or drawn; freely, or from given beginnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from matinee.engines.constraining import Constraint

# Colder than this, chances are those of greedy choice, and dividing by it may overflow.
COLDEST = 1e-5


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 takes the likeliest token; `top_p` keeps the likeliest ones of that mass.

    A temperature below `COLDEST` is 0.
    With a `seed` the same request gets the same text as long as the logits are the same.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


GREEDY = Sampling()


class ThoughtLimit:
    """Closes the thoughts of one answer after `most` tokens.

    `opening`, `closing`: the tokens around thoughts, which `prompt` may have opened already.
    """

    def __init__(self, opening: int, closing: int, most: int, prompt: Sequence[int]) -> None:
        self.closing = closing
        self._opening = opening
        self._most = most
        marks = [token for token in prompt if token in (opening, closing)]
        self._begun = marks[-1:] == [opening]

    def reached(self, written: Sequence[int]) -> bool:
        """Whether the thoughts must be closed now."""
        thinking = self._begun or self._opening in written
        return thinking and len(written) >= self._most and self.closing not in written


class Chooser:
    """Chooses the tokens of one answer.

    `openings`: token rows, one of which must come first. `constraint`: what may come at all.
    """

    def __init__(
        self,
        sampling: Sampling,
        openings: Sequence[Sequence[int]] = (),
        constraint: Constraint | None = None,
        thoughts: ThoughtLimit | None = None,
    ) -> None:
        self._sampling = sampling
        self._openings = tuple(tuple(opening) for opening in openings)
        self._constraint = constraint
        self._thoughts = thoughts
        self._generator: Generator | None = None

    def choose(self, logits: Tensor, written: Sequence[int]) -> int:
        """The next token id, from logits (V) and what was written before."""
        import torch

        allowed = self._allowed(written)
        if self._thoughts is not None and self._thoughts.reached(written):
            token = self._thoughts.closing
        elif allowed is not None:
            ids = torch.tensor(allowed, device=logits.device)
            token = allowed[self._pick(logits[ids])]
        else:
            token = self._pick(logits)
        if self._constraint is not None:
            # Drawing anew only where the free draw is forbidden gives the same chances as drawing
            # among the allowed tokens, and spares the mask where the model keeps to the format.
            if not self._constraint.allows(token):
                left = self._constraint.masked(logits)
                token = self._pick(left)
                # What no mask forbids: a key that stands there already.
                while not self._constraint.allows(token) and left.isfinite().sum() > 1:
                    left[token] = float("-inf")
                    token = self._pick(left)
            self._constraint.accept(token)
        return token

    def _allowed(self, written: Sequence[int]) -> list[int] | None:
        """The tokens that go on with an opening; None once one of them is complete."""
        begun = [
            opening
            for opening in self._openings
            if opening[: len(written)] == tuple(written[: len(opening)])
        ]
        if not begun or any(len(opening) <= len(written) for opening in begun):
            return None
        return sorted({opening[len(written)] for opening in begun})

    def _pick(self, logits: Tensor) -> int:
        import torch

        if self._sampling.temperature < COLDEST:
            return int(logits.argmax())
        # On the CPU, so that a seed means the same on every device.
        values = logits.float().cpu()
        # The largest becomes 0, so that no quotient is larger than a float can hold.
        chances = torch.softmax((values - values.max()) / self._sampling.temperature, dim=-1)
        ordered, ids = chances.sort(descending=True, stable=True)
        # The token that reaches the mass is kept, and the first even where the mass rounds to 0.
        dropped = ordered.cumsum(-1) - ordered >= self._sampling.top_p
        dropped[0] = False
        ordered[dropped] = 0.0
        if self._generator is None:
            self._generator = torch.Generator()
            if self._sampling.seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(self._sampling.seed)
        return int(ids[torch.multinomial(ordered, 1, generator=self._generator)])
