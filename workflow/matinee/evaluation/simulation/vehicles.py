"""`chejian_query`: when a vehicle is next due for inspection, by the Chinese rules.

Sources: article 16 of the Regulation on the Implementation of the Road Traffic Safety Law
(道路交通安全法实施条例), which sets the intervals by kind and age; and, for small private cars
and motorcycles, the opinion 公交管〔2022〕295号 in force since 2022-10-01, which keeps the two-year
interval up to the tenth year, asks for a technical inspection only in years 6 and 10 of these,
and for one every year after that. A vehicle that was in an accident with casualties or was
punished for illegal modification stays under article 16. Vans, and large private cars, which
neither text names apart, are treated as article 16 treats small private vehicles.
"""

from __future__ import annotations

import calendar
import datetime
from dataclasses import dataclass
from typing import Any

from matinee.evaluation.simulation.answers import ApiProblem, Refusal
from matinee.evaluation.simulation.arguments import required_choice, required_date

_OLDEST = datetime.date(1950, 1, 1)


@dataclass(frozen=True)
class _Rule:
    """`phases`: (up to this age in years, months between inspections), the last without end.

    `on_paper_until`: up to this age in years only the years in `technical` need a technical
    inspection; at the other due dates the mark is applied for without one.
    """

    phases: tuple[tuple[int | None, int], ...]
    on_paper_until: int = 0
    technical: tuple[int, ...] = ()


_OPERATING = _Rule(((5, 12), (None, 6)))
_LORRY_OR_BUS = _Rule(((10, 12), (None, 6)))
_SMALL_PRIVATE = _Rule(((6, 24), (15, 12), (None, 6)))
_MOTORCYCLE = _Rule(((4, 24), (None, 12)))
_OTHER = _Rule(((None, 12),))
_SINCE_2022 = _Rule(((10, 24), (None, 12)), on_paper_until=10, technical=(6, 10))

_KINDS = {
    "1": ("营运车辆", _OPERATING, _OPERATING),
    "2": ("货车或大中型客车", _LORRY_OR_BUS, _LORRY_OR_BUS),
    "3": ("9座及以下非营运小型、微型载客汽车", _SINCE_2022, _SMALL_PRIVATE),
    "4": ("摩托车", _SINCE_2022, _MOTORCYCLE),
    "5": ("其他车辆", _OTHER, _OTHER),
    "6": ("面包车", _SMALL_PRIVATE, _SMALL_PRIVATE),
    "7": ("非营运大型轿车", _SMALL_PRIVATE, _SMALL_PRIVATE),
}


def chejian_query(
    today: datetime.date, *, type: str, reg_date: str, iis_sg: int = 0
) -> dict[str, Any]:
    """The next due date, today included, and whether a technical inspection is needed then."""
    required_choice("type", type, _KINDS)
    registered = required_date("reg_date", reg_date)
    if not _OLDEST <= registered <= today:
        limits = f"reg_date应在{_OLDEST}到今天（{today}）之间"
        raise Refusal(ApiProblem.out_of_range, limits)
    required_choice("iis_sg", iis_sg, (0, 1))
    name, usual, after_offence = _KINDS[type]
    rule = after_offence if iis_sg else usual
    age, interval = _next_due(rule, registered, today)
    technical = age > rule.on_paper_until * 12 or age in [year * 12 for year in rule.technical]
    return {
        "type": type,
        "type_name": name,
        "reg_date": reg_date,
        "next_date": str(_months_after(registered, age)),
        "interval_months": interval,
        "online_check": technical,
        "description": "需上线检测" if technical else "免上线检测，申领检验标志即可",
    }


def _next_due(rule: _Rule, registered: datetime.date, today: datetime.date) -> tuple[int, int]:
    """Age in months at the next due date, and the months since the due date before it."""
    age = 0
    while True:
        interval = next(months for end, months in rule.phases if end is None or age < end * 12)
        age += interval
        if _months_after(registered, age) >= today:
            return age, interval


def _months_after(start: datetime.date, months: int) -> datetime.date:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return datetime.date(year, month + 1, min(start.day, last))
