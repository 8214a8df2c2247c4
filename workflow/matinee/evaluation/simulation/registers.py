"""Tools whose answers follow from rules: loans, inspections of vehicles, owners of web sites."""

from __future__ import annotations

import calendar
import datetime
import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from matinee.evaluation.simulation.api import ApiProblem, Refusal, echo
from matinee.evaluation.simulation.places import plain, provinces
from matinee.evaluation.simulation.resources import (
    between,
    required_choice,
    required_date,
    world_file,
)

_LARGEST_LOAN = 500  # 万元
_HIGHEST_RATE = 24  # per cent a year; above it a rate is a slip, such as a missing point
_OLDEST = datetime.date(1950, 1, 1)
_LABEL = r"[a-z0-9\u3400-\u9fff](?:[a-z0-9\u3400-\u9fff-]{0,61}[a-z0-9\u3400-\u9fff])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")


def loan_calc_query(
    today: datetime.date, *, money: int, year: int, active: str = "3.25"
) -> dict[str, Any]:
    """Instalments and interest (yuan) of a loan of `money` × 10,000 yuan over `year` years.

    `active` is the yearly rate in per cent; a month bears a twelfth of it. Raises Refusal.
    """
    if not 0 < money <= _LARGEST_LOAN:
        raise Refusal(ApiProblem.out_of_range, f"money应大于0且不超过500（万元），收到“{money}”")
    required_choice("year", year, (5, 10, 15, 20, 25, 30))
    known = re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,6})?", active)
    if not known or not 0 < Decimal(active) <= _HIGHEST_RATE:
        limits = f"active应为大于0且不超过{_HIGHEST_RATE}的数字（百分数），收到“{echo(active)}”"
        raise Refusal(ApiProblem.out_of_range, limits)
    principal, rate, months = Decimal(money * 10_000), Decimal(active) / 100 / 12, year * 12
    plans = [_equal_instalments(principal, rate, months), _equal_principal(principal, rate, months)]
    return {"money": money, "year": year, "months": months, "active": active, "plans": plans}


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


def chejian_query(
    today: datetime.date, *, type: str, reg_date: str, iis_sg: int = 0
) -> dict[str, Any]:
    """The next due date, today included, and whether a technical inspection is needed then.

    The rules and their sources stand in `resources/world/standards.yaml`.
    """
    kinds = world_file("standards")["vehicles"]
    required_choice("type", type, kinds)
    registered = required_date("reg_date", reg_date)
    if not _OLDEST <= registered <= today:
        limits = f"reg_date应在{_OLDEST}到今天（{today}）之间"
        raise Refusal(ApiProblem.out_of_range, limits)
    required_choice("iis_sg", iis_sg, (0, 1))
    name, usual, after_offence = kinds[type]
    rule = world_file("standards")["inspection_rules"][after_offence if iis_sg else usual]
    age, interval = _next_due(rule["phases"], registered, today)
    yearly = [year * 12 for year in rule.get("technical", ())]
    technical = age > rule.get("on_paper_until", 0) * 12 or age in yearly
    return {
        "type": type,
        "type_name": name,
        "reg_date": reg_date,
        "next_date": str(_months_after(registered, age)),
        "interval_months": interval,
        "online_check": technical,
        "description": "需上线检测" if technical else "免上线检测，申领检验标志即可",
    }


def _next_due(
    phases: list[tuple[int | None, int]], registered: datetime.date, today: datetime.date
) -> tuple[int, int]:
    """Age in months at the next due date, and the months since the due date before it."""
    age = 0
    while True:
        interval = next(months for end, months in phases if end is None or age < end * 12)
        age += interval
        if _months_after(registered, age) >= today:
            return age, interval


def _months_after(start: datetime.date, months: int) -> datetime.date:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return datetime.date(year, month + 1, min(start.day, last))


def bare_domain(text: str) -> str:
    """A domain without what people add to it: scheme, `www.`, case, final slash or dot.

    Anything more (a port, a path, another host name) stays: it names something else.
    """
    domain = re.sub(r"^https?://", "", plain(text).replace("。", "."))
    domain = domain.removesuffix("/").removesuffix(".")
    without = domain.removeprefix("www.")
    # www.com is a domain of its own.
    return without if "." in without else domain


def icp_query(today: datetime.date, *, domainName: str) -> dict[str, Any]:
    """Who registered a web site. Holders are real, licence numbers are invented."""
    domain = bare_domain(domainName)
    if not _DOMAIN.fullmatch(domain):
        raise Refusal(ApiProblem.out_of_range, f"domainName不是有效的域名：“{echo(domainName)}”")
    registered = world_file("icp").get(domain)
    if registered is None:
        raise Refusal(ApiProblem.no_record, f"未查询到{echo(domain)}的备案信息")
    holder, nature, home = registered
    short = next(province.short for province in provinces() if province.name == home)
    number = f"{between(5, 23, 'year', domain):02d}{between(0, 999_999, 'number', domain):06d}"
    return {
        "domain": domain,
        "company_name": holder,
        "company_type": nature,
        "icp_number": f"{short}ICP备{number}号-1",
    }
