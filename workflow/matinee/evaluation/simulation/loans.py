"""`loan_calc_query`: a housing-fund loan, really computed for both kinds of repayment."""

from __future__ import annotations

import datetime
import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from matinee.evaluation.simulation.answers import ApiProblem, Refusal, echo
from matinee.evaluation.simulation.arguments import required_choice

_YUAN_PER_WAN = 10_000
_LARGEST_WAN = 500
_HIGHEST_RATE = 24  # per cent a year; above it a rate is a slip, such as a missing point


def loan_calc_query(
    today: datetime.date, *, money: int, year: int, active: str = "3.25"
) -> dict[str, Any]:
    """Instalments and interest (yuan) of a loan of `money` × 10,000 yuan over `year` years.

    `active` is the yearly rate in per cent; a month bears a twelfth of it. Raises Refusal.
    """
    if not 0 < money <= _LARGEST_WAN:
        raise Refusal(ApiProblem.out_of_range, f"money应大于0且不超过500（万元），收到“{money}”")
    required_choice("year", year, (5, 10, 15, 20, 25, 30))
    principal = Decimal(money * _YUAN_PER_WAN)
    rate = _monthly_rate(active)
    months = year * 12
    return {
        "money": money,
        "year": year,
        "months": months,
        "active": active,
        "plans": [
            _equal_instalments(principal, rate, months),
            _equal_principal(principal, rate, months),
        ],
    }


def _monthly_rate(active: str) -> Decimal:
    if re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,6})?", active) and 0 < Decimal(active) <= _HIGHEST_RATE:
        return Decimal(active) / 100 / 12
    limits = f"active应为大于0且不超过{_HIGHEST_RATE}的数字（百分数），收到“{echo(active)}”"
    raise Refusal(ApiProblem.out_of_range, limits)


def _equal_instalments(principal: Decimal, rate: Decimal, months: int) -> dict[str, Any]:
    """Annuity: instalment = principal · r · (1+r)ⁿ / ((1+r)ⁿ − 1)."""
    growth = (1 + rate) ** months
    instalment = principal * rate * growth / (growth - 1)
    return {
        "method": "等额本息",
        "monthly_payment": _yuan(instalment),
        "total_interest": _yuan(instalment * months - principal),
        "total_payment": _yuan(instalment * months),
    }


def _equal_principal(principal: Decimal, rate: Decimal, months: int) -> dict[str, Any]:
    """Each month repays principal/n and the interest on what was still owed."""
    repaid = principal / months
    interest = principal * rate * (months + 1) / 2
    return {
        "method": "等额本金",
        "first_payment": _yuan(repaid + principal * rate),
        "monthly_decrease": _yuan(repaid * rate),
        "last_payment": _yuan(repaid + repaid * rate),
        "total_interest": _yuan(interest),
        "total_payment": _yuan(principal + interest),
    }


def _yuan(amount: Decimal) -> float:
    return float(amount.quantize(Decimal("0.01"), ROUND_HALF_UP))
