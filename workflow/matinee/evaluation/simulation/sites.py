"""`icp_query`: who registered a web site. Holders are real, licence numbers are invented."""

from __future__ import annotations

import datetime
import re
from functools import cache
from typing import Any

from matinee.evaluation.simulation.answers import ApiProblem, Refusal, echo
from matinee.evaluation.simulation.names import plain
from matinee.evaluation.simulation.places import provinces
from matinee.evaluation.simulation.resources import between, world_file

_LABEL = r"[a-z0-9\u3400-\u9fff](?:[a-z0-9\u3400-\u9fff-]{0,61}[a-z0-9\u3400-\u9fff])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")


def bare_domain(text: str) -> str:
    """A domain without what people add to it: scheme, `www.`, case, final slash or dot.

    Anything more (a port, a path, another host name) stays: it names something else.
    """
    domain = re.sub(r"^https?://", "", plain(text).replace("。", "."))
    domain = domain.removesuffix("/").removesuffix(".")
    without = domain.removeprefix("www.")
    # www.com is a domain of its own.
    return without if "." in without else domain


@cache
def _short_names() -> dict[str, str]:
    return {province.name: province.short for province in provinces()}


def icp_query(today: datetime.date, *, domainName: str) -> dict[str, Any]:
    """The site's registration."""
    domain = bare_domain(domainName)
    if not _DOMAIN.fullmatch(domain):
        raise Refusal(ApiProblem.out_of_range, f"domainName不是有效的域名：“{echo(domainName)}”")
    registered = world_file("icp").get(domain)
    if registered is None:
        raise Refusal(ApiProblem.no_record, f"未查询到{echo(domain)}的备案信息")
    holder, nature, province = registered
    number = f"{between(5, 23, 'year', domain):02d}{between(0, 999_999, 'number', domain):06d}"
    return {
        "domain": domain,
        "company_name": holder,
        "company_type": nature,
        "icp_number": f"{_short_names()[province]}ICP备{number}号-1",
    }
