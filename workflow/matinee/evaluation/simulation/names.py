"""Names of places as people write them: with or without 省, 市, 自治区, 州; and plain text."""

from __future__ import annotations

import re
import unicodedata

_NATIONALITIES = (
    "蒙古|维吾尔|哈萨克|柯尔克孜|(?:蒙古|回|藏|苗|彝|壮|布依|朝鲜|侗|瑶|白|土家|哈尼|傣|黎|傈僳|"
    "景颇|羌|土|撒拉|东乡|保安|裕固|锡伯|满|畲|佤|拉祜|水|纳西|独龙|怒|普米|仡佬|仫佬|毛南|布朗|"
    "各)族"
)
_AUTONOMOUS = re.compile(rf"(.{{2,}}?)(?:{_NATIONALITIES})*自治(区|州|县|旗)")

# The level that a suffix states. Two names of one stem are the same place unless both state a
# level and the levels differ: 吉林 is 吉林省 and 吉林市, but these two are not each other.
_LEVELS = {
    "特别行政区": "province",
    "省": "province",
    "地区": "prefecture",
    "林区": "prefecture",
    "新区": "district",
    "市": "city",
    "盟": "prefecture",
    "州": "prefecture",
    "县": "county",
    "区": "district",
}
_AUTONOMOUS_LEVELS = {
    "区": "province",
    "州": "prefecture",
    "县": "county",
    "旗": "county",
}
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
    autonomous = _AUTONOMOUS.fullmatch(text)
    if autonomous:
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
    (stem_one, level_one), (stem_other, level_other) = (
        stem_and_level(one),
        stem_and_level(other),
    )
    if stem_one != stem_other or not stem_one:
        return False
    return level_one is None or level_other is None or level_one == level_other


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
