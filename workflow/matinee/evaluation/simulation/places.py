"""Names of places as people write them, and the provinces and cities of the simulated world."""

from __future__ import annotations

import datetime
import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from matinee.evaluation.simulation.api import ApiProblem, Refusal, echo
from matinee.evaluation.simulation.resources import world_file

_NATIONALITIES = (
    "蒙古|维吾尔|哈萨克|柯尔克孜|(?:蒙古|回|藏|苗|彝|壮|布依|朝鲜|侗|瑶|白|土家|哈尼|傣|黎|傈僳|"
    "景颇|羌|土|撒拉|东乡|保安|裕固|锡伯|满|畲|佤|拉祜|水|纳西|独龙|怒|普米|仡佬|仫佬|毛南|布朗|"
    "各)族"
)
_AUTONOMOUS = re.compile(rf"(.{{2,}}?)(?:{_NATIONALITIES})*自治(区|州|县|旗)")

# The level that a suffix states. Two names of one stem are the same place unless both state a
# level and the levels differ: 吉林 is 吉林省 and 吉林市, but these two are not each other.
_LEVELS = {
    **{"特别行政区": "province", "省": "province"},
    **{"地区": "prefecture", "林区": "prefecture", "盟": "prefecture", "州": "prefecture"},
    **{"新区": "district", "区": "district", "市": "city", "县": "county"},
}
_AUTONOMOUS_LEVELS = {"区": "province", "州": "prefecture", "县": "county", "旗": "county"}
_SHORTENED = {"内蒙": "内蒙古"}
# Traditional characters that occur in names of places, basins and airports.
_SIMPLIFIED = str.maketrans(
    "廣東蘇臺灣濟瀋陽門龍連長鄭漢寧貴雲遼內烏魯齊銀蘭無錫鎮揚鹽紹興溫麗嶺蕪馬銅慶贛萬煙濰棗營萊濱澤開許峽駐荊黃岡隨邵張懷婁韶關頭"
    "遠欽賓賀貢瀘綿樂達資壩爾縣區島瓊滬陝鹹寶肅涼隴國際機場鳳雙綠園處撫順錦鐵葫蘆嘉吳衛滄邢鄲莊鶴崗雞佳綏義麥蓋寬漣滁亳池巢淮駝",
    "广东苏台湾济沈阳门龙连长郑汉宁贵云辽内乌鲁齐银兰无锡镇扬盐绍兴温丽岭芜马铜庆赣万烟潍枣营莱滨泽开许峡驻荆黄冈随邵张怀娄韶关头"
    "远钦宾贺贡泸绵乐达资坝尔县区岛琼沪陕咸宝肃凉陇国际机场凤双绿园处抚顺锦铁葫芦嘉吴卫沧邢郸庄鹤岗鸡佳绥义麦盖宽涟滁亳池巢淮驼",
)


def plain(text: str) -> str:
    """The text in NFKC (full-width forms made plain), case folded, without outer whitespace."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


def simplified(text: str) -> str:
    """A name as `plain` makes it, in simplified characters: 廣州 → 广州."""
    return plain(text).translate(_SIMPLIFIED)


def stem_and_level(name: str) -> tuple[str, str | None]:
    """Bare name of a place, and its suffix's level: 大理白族自治州 → 大理, prefecture."""
    text = simplified(name)
    if autonomous := _AUTONOMOUS.fullmatch(text):
        return autonomous[1], _AUTONOMOUS_LEVELS[autonomous[2]]
    for suffix, level in _LEVELS.items():
        # 广州 and 徐州 keep their 州: a stem has at least two characters.
        if text.endswith(suffix) and len(text) - len(suffix) >= 2:
            return text[: -len(suffix)], level
    return _SHORTENED.get(text, text), None


def stem(name: str) -> str:
    """A place's bare name: 江苏省 → 江苏, 新疆维吾尔自治区 → 新疆."""
    return stem_and_level(name)[0]


def same_place(one: str, other: str) -> bool:
    """Whether two Chinese names mean the same place, suffix or not."""
    if simplified(one) == simplified(other):
        return True
    (first, level), (second, other_level) = stem_and_level(one), stem_and_level(other)
    return (
        bool(first) and first == second and (None in (level, other_level) or level == other_level)
    )


def same_basin(one: str, other: str) -> bool:
    """Whether two names mean the same river basin: 海河 and 海河流域."""
    return simplified(one).removesuffix("流域") == simplified(other).removesuffix("流域")


def latin(text: str) -> str:
    """Only the basic Latin letters and digits, accents dropped: "Xī'ān" → "xian"."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(mark for mark in decomposed if mark.isascii() and mark.isalnum())


def is_chinese(text: str) -> bool:
    """Whether the text holds a Chinese character."""
    return any("\u3400" <= mark <= "\u9fff" for mark in text)


@dataclass(frozen=True)
class City:
    """A city (or prefecture, or directly administered county) with its invented id."""

    id: str
    name: str
    province: str
    climate: str


@dataclass(frozen=True)
class Province:
    """A province-level unit with its invented id and the character on its number plates."""

    id: str
    name: str
    short: str
    cities: tuple[City, ...]


@cache
def provinces() -> tuple[Province, ...]:
    """The 34 province-level units, in the official order."""
    found = []
    for entry in world_file("places")["provinces"]:
        name, climate = entry["name"], entry["climate"]
        inside = tuple(City(id_, city, name, climate) for city, id_ in entry["cities"].items())
        found.append(Province(entry["id"], name, entry["short"], inside))
    return tuple(found)


@cache
def cities() -> dict[str, City]:
    """All cities by id."""
    return {city.id: city for province in provinces() for city in province.cities}


@lru_cache(maxsize=4096)  # bounded: models make up names
def spellings(name: str) -> frozenset[str]:
    """How a Chinese city name may be written in Latin letters, lower case, letters only."""
    from pypinyin import lazy_pinyin

    places = world_file("places")
    found = set()
    for full in {city.name for city in cities().values() if same_place(city.name, name)} or {name}:
        pinyin = places["pinyin"].get(full) or latin("".join(lazy_pinyin(stem(full))))
        found |= {pinyin, *places["spellings"].get(full, [])}
        found |= {pinyin + "shi", pinyin + "city"} if full.endswith("市") else set()
    return frozenset(found)


@cache
def _by_spelling() -> dict[str, frozenset[City]]:
    found: dict[str, set[City]] = {}
    for city in cities().values():
        for spelling in spellings(city.name):
            found.setdefault(spelling, set()).add(city)
    return {spelling: frozenset(meant) for spelling, meant in found.items()}


def cities_named(name: str) -> frozenset[City]:
    """The cities that a Chinese name or pinyin may mean: none, one, or several (fuzhou)."""
    if is_chinese(name):
        return frozenset(city for city in cities().values() if same_place(city.name, name))
    return _by_spelling().get(latin(name), frozenset())


def get_province_list(today: datetime.date) -> list[dict[str, Any]]:
    """All provinces with their ids."""
    return [{"id": province.id, "province": province.name} for province in provinces()]


def get_cities_list(today: datetime.date, *, province_id: str) -> list[dict[str, Any]]:
    """The cities of a province with their ids."""
    for province in provinces():
        if province.id == province_id.strip():
            return [
                {"id": city.id, "city_name": city.name, "province_id": province.id}
                for city in province.cities
            ]
    raise Refusal(ApiProblem.not_found, f"没有id为“{echo(province_id)}”的省份")
