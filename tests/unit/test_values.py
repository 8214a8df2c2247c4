"""Each comparison rule both ways: what is the same value, and what is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.evaluation.simulation.places import cities
from matinee.evaluation.values import KINDS, equal, equal_by_schema, kind_of

SAME = {
    "text": [
        ("鼓楼外大街", " 鼓楼外大街 "),
        ("ABC", "ＡＢＣ"),
        ("659", 659),
        ("（上海）", "(上海)"),
        ("10² m", "10² ｍ"),
    ],
    "code": [("PEK", "ＰＥＫ"), ("3", 3), ("3", "３")],
    "any_case": [("PEK", "pek"), ("abc", "ＡＢＣ"), ("3", 3)],
    "email": [("Li@Juhe.cn", "li@juhe.cn")],
    "free_text": [("我八点到。", "我八点到"), ("Call me back!", "call  me back"), ("“好”", "好")],
    "exact": [("Pa55 ", "Pa55 ")],
    "path": [("/home/Li/a.txt", "/home/Li/a.txt")],
    "url": [("HTTPS://Juhe.cn", "https://juhe.cn/"), ("https://a.cn/B?x=1", "https://A.cn/B?x=1")],
    "amount": [(700000, "70万"), ("70万元", "¥700,000"), (12.5, "12.50元"), (88, "88块")],
    "date_time": [
        ("2023-05-01T09:00", "2023-05-01 09:00:00"),
        ("2023-05-01T09:00", "2023年5月1日9点"),
        ("2023-05-01T09:30", "2023/5/1 9:30"),
        ("2023-05-01T09:00:00Z", "2023-05-01T17:00:00+08:00"),
    ],
    "time": [("9:30", "09:30:00"), ("09:30", "9点30分"), ("21:05", "21:05")],
    "number": [
        (70, "70"),
        (70, "七十"),
        (70, 70.0),
        ("70", "７０"),
        (700000, "70万"),
        ("七十万", 700000),
        (1000, "1,000"),
        ("1.5", "1.50"),
        ("1.5", "一点五"),
        (0.0000001, "1e-7"),
        (-3, "负三"),
        (-5, "−5"),
        (15000, "一万五"),
        (15000, "1万5千"),
        (5000000, "5百万"),
        (200, "两百"),
        (25, "贰拾伍"),
        ("15", "1.5e1"),
        (105, "一百零五"),
    ],
    "integer": [(20, "20"), (20, "二十"), (20, 20.0), (1, "1"), (1, "一")],
    "ten_thousands": [
        (70, "70"),
        (70, "70万"),
        (70, "七十万"),
        (70, "70 万元"),
        (70, "700000元"),
        (70, "七十"),
        (120, "一百二十万"),
        (70, "柒拾万元"),
        (1.5, "一万五千"),
        (1.5, "1万5千"),
        (1.5, "一万五"),
        (10000, "1亿"),
        (12000, "一亿两千万元"),
        (150, "150万块钱"),
        (150, "1500000块"),
        (70, "人民币70万"),
        (70, "人民币 70 万元"),
        (70, "￥700000"),
        (70, "¥70万"),
        (70, "700000元人民币"),
        (70, "700000人民币"),
    ],
    "percent": [
        ("3.25", "3.25%"),
        ("3.25", "３．２５％"),
        ("3.25", 3.25),
        ("3.1", "百分之三点一"),
        ("3", "3.0"),
    ],
    "boolean": [(True, "true"), (False, "False"), (True, True)],
    "date": [
        ("2023-05-01", "2023年5月1日"),
        ("2023-05-01", "2023/5/1"),
        ("2023-05-01", "20230501"),
        ("2023-05-01", 20230501),
        ("2023-05-01", "二〇二三年五月一日"),
        ("2023-05-01", "二零二三年五月一号"),
        ("2023-12-31", "二〇二三年十二月三十一日"),
        ("2023-05-01", "2023.05.01"),
        ("2023-05-01", "２０２３－０５－０１"),
        ("2023-05-01", "2023–05—01"),
        ("2023-05-01", "二○二三年五月一日"),
        ("2023-05-01", "2023年五月1号"),
        ("2023-05-21", "二〇二三年5月廿一日"),
    ],
    "place": [
        ("江苏", "江苏省"),
        ("北京市", "北京"),
        ("新疆", "新疆维吾尔自治区"),
        ("广西壮族自治区", "广西"),
        ("内蒙", "内蒙古自治区"),
        ("香港", "香港特别行政区"),
        ("大理", "大理白族自治州"),
        ("凉山州", "凉山彝族自治州"),
        ("海西", "海西蒙古族藏族自治州"),
        ("恩施", "恩施土家族苗族自治州"),
        ("吉林", "吉林省"),
        ("吉林", "吉林市"),
    ],
    "place_or_pinyin": [
        ("上海", "shanghai"),
        ("上海市", "Shang Hai"),
        ("西安", "Xi'an"),
        ("西安", "xīān"),
        ("重庆", "chongqing"),
        ("长治", "changzhi"),
        ("漯河", "luohe"),
        ("哈尔滨", "Harbin"),
        ("拉萨", "lhasa"),
        ("lasa", "Lhasa"),
        ("beijing", "Beijing City"),
        ("beijing", "北京市"),
        ("吕梁", "lüliang"),
        ("吕梁", "lvliang"),
        ("大理", "大理白族自治州"),
        ("大理", "dali"),
    ],
    "basin": [("海河流域", "海河"), ("西南诸河", "西南诸河")],
    "domain": [
        ("juhe.cn", "https://www.juhe.cn/"),
        ("juhe.cn", "JUHE.CN"),
        ("juhe.cn", "http://juhe.cn"),
        ("juhe.cn", "juhe.cn."),
        ("juhe.cn", "ｊｕｈｅ．ｃｎ"),
        ("中国.cn", "xn--fiqs8s.cn"),
    ],
    "airport_keyword": [
        ("北京", "Beijing"),
        ("北京", "北京市"),
        ("首都机场", "PEK"),
        ("北京首都国际机场", "Beijing Capital International Airport"),
        ("广州", "白云机场"),
        ("CAN", "can"),
        ("虹桥", "上海虹桥国际机场"),
        ("浦东机场", "pvg"),
        ("伦敦希思罗机场", "Heathrow"),
        ("戴高乐机场", "CDG"),
        ("西安", "xi'an"),
        ("没有这个机场", " 没有这个机场"),
    ],
    "any": [(["七十", {"a": 1}], ["七十", {"a": 1.0}]), ({"a": None}, {"a": None}), ("A", "Ａ")],
}

DIFFERENT = {
    "text": [
        ("鼓楼外大街", "鼓楼大街"),
        ("1.5", "15"),
        ("true", True),
        ("", None),
        ("10²", "102"),
        ("H₂O", "H2O"),
        ("②号线", "2号线"),
    ],
    "any_case": [("PEK", "PKX"), ("10²", "102")],
    "email": [("li@juhe.cn", "li@juhe.com")],
    "free_text": [("我八点到", "我九点到"), ("not now", "now")],
    "exact": [("Pa55", "pa55"), ("Pa55 ", "Pa55"), ("ab", "ａｂ")],
    "path": [("/home/Li", "/home/li"), ("a.txt", "a.TXT"), ("a/b", "ab")],
    "url": [("https://a.cn/B", "https://a.cn/b"), ("https://a.cn", "http://a.cn")],
    "amount": [(70, "70万"), (70, "7"), ("70元", "70万元"), (1, True)],
    "date_time": [
        ("2023-05-01T09:00", "2023-05-01T21:00"),
        ("2023-05-01T09:00", "2023-05-02T09:00"),
        ("2023-05-01T09:00", "2023-05-01T09:00Z"),
    ],
    "time": [("9:30", "21:30"), ("9:30", "9:31")],
    "code": [
        ("A²", "A2"),
        ("PEK", "pek"),
        ("top", "TOP"),
        ("PEK", "PKX"),
        ("3", "03"),
        ("3", "3.0"),
        ("3", "三"),
        ("1", True),
    ],
    "number": [
        ("1.5", "15"),
        (1.5, 15),
        (70, "70万"),
        (1, True),
        (0, False),
        (0, None),
        (0, ""),
        (70, "七百"),
        (1000, "1,00,0"),
        (70, "70个"),
        (1, [1]),
        ("1e3", "1e4"),
        (10, "零十"),
        (10, "亿亿"),
        (102, "10²"),
        (1, "①"),
        (105, "一百五"),
        (10005, "一万五"),
        (15, "1,5"),
        (70, "70\u200b5"),
        (5, "−5"),
        (70, "0x46"),
        (15, "1/5"),
    ],
    "integer": [(20, 25), (20, "20.5"), (1, True), ("5.5", 5.5001), (20, "二十五")],
    "ten_thousands": [
        (70, 700000),
        (70, "70元"),
        (70, "7万"),
        (70, "七百万"),
        (70, "7百万"),
        (70, "70²"),
        (1, True),
        (15000, "一万五千"),
        (15000, "1万5千"),
        (100000000, "1亿"),
        (70, "￥70"),
        (70, "70万美元"),
        (70, "钱70万"),
        (0, "人民币"),
    ],
    "percent": [("3.25", "325"), ("3.25", "0.0325"), ("3.1", "3.10.0"), ("1", True)],
    "boolean": [(True, False), (True, 1), (True, "yes"), (False, None), (False, 0)],
    "date": [
        ("2023-05-01", "2023-01-05"),
        ("2023-05-01", "2022-05-01"),
        ("2023-05-01", "5月1日"),
        ("2023-05-01", "二〇二三年五月十一日"),
        ("2023-02-30", "2023/2/30"),
        ("2023-05-01", None),
        ("2023-05-01", "2023-05-01T00:00"),
        ("2023-05-01", "05/01/2023"),
        ("2023-05-01", "23-05-01"),
        ("2023-05-01", "2023年5月"),
        ("2023-05-01", "2023-05-0¹"),
    ],
    "place": [
        ("吉林省", "吉林市"),
        ("江苏", "江西"),
        ("广州", "广"),
        ("海南省", "海南藏族自治州"),
        ("陕西", "山西"),
        ("江苏", "jiangsu"),
        ("北京", "东京"),
        ("江苏", "江苏省南京市"),
        ("北京", "北京市朝阳区"),
        ("", "市"),
    ],
    "place_or_pinyin": [
        ("宜春", "伊春"),
        ("上海", "shanghaii"),
        ("西安", "xining"),
        ("长治", "zhangzhi"),
        ("huangshi", "huang"),
        ("suzhou", "taizhou"),
        ("上海", ""),
        ("!", "?"),
    ],
    "basin": [("海河流域", "淮河流域"), ("海河流域", "海")],
    "domain": [
        ("juhe.cn", "juhe.com"),
        ("juhe.cn", "api.juhe.cn"),
        ("juhe.cn", "juhe.cn/docs"),
        ("juhe.cn", "juhe.cn:8080"),
        ("www.com", "com"),
        ("juhe.cn", "ftp://juhe.cn"),
        ("juhe.cn", "juhe.cn.evil.com"),
        ("juhe.cn", "user@juhe.cn"),
        ("juhe.cn", "jᴜhe.cn"),
    ],
    "airport_keyword": [
        ("北京", "首都机场"),
        ("虹桥", "浦东"),
        ("上海", "北京"),
        ("没有这个机场", "也没有这个"),
        ("国际机场", "PEK"),
    ],
    "any": [
        ("007", "7"),
        ("7", 7),
        (["1.10"], ["1.1"]),
        ({"a": "1"}, {"a": 1}),
        ("A", "a"),
        (["10²"], ["102"]),
        ("10²", 102),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"b": 1}),
        ([True], [1]),
        (None, False),
        ([], {}),
    ],
}


def _pairs(table: dict[str, list[tuple[object, object]]]) -> list[tuple[str, object, object]]:
    return [(kind, one, other) for kind, pairs in table.items() for one, other in pairs]


@pytest.mark.parametrize(("kind", "accepted", "found"), _pairs(SAME))
def test_the_same_value_written_otherwise_is_equal(kind, accepted, found):
    assert equal(kind, accepted, found)
    assert equal(kind, found, accepted)


@pytest.mark.parametrize(("kind", "accepted", "found"), _pairs(DIFFERENT))
def test_another_value_is_not_equal(kind, accepted, found):
    assert not equal(kind, accepted, found)
    assert not equal(kind, found, accepted)


def test_every_kind_has_examples_both_ways():
    assert set(SAME) == set(DIFFERENT) == KINDS


def test_an_unknown_kind_is_a_programming_error():
    with pytest.raises(KeyError):
        equal("colour", "red", "red")


# Texts near the rules' own alphabet reach further into them than arbitrary ones.
NEAR = st.text(st.sampled_from("0123456789.,-/+eE%万亿元年月日〇零一二三十百千点负省市州wx:n-。 "))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NEAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), value=JSON, other=JSON)
def test_comparison_never_raises_is_reflexive_and_symmetric(kind, value, other):
    assert equal(kind, value, value)
    assert equal(kind, value, other) == equal(kind, other, value)


@settings(deadline=None)
@given(kind=st.sampled_from(["number", "integer", "ten_thousands", "percent"]), value=JSON)
def test_a_boolean_is_never_a_number(kind, value):
    if not isinstance(value, bool):
        assert not equal(kind, True, value)


def test_a_structure_too_deep_to_walk_is_simply_not_equal():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert not equal("any", deep, [])


def test_no_two_provinces_or_cities_of_one_province_are_confused():
    by_province: dict[str, list[str]] = {}
    for city in cities().values():
        by_province.setdefault(city.province, []).append(city.name)
    for names in by_province.values():
        for name in names:
            assert [other for other in names if equal("place", name, other)] == [name]


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "enum": ["A"]}, "code"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "integer"}, "integer"),
        ({"type": "number"}, "number"),
        ({"type": "boolean"}, "boolean"),
        ({"type": "array"}, "any"),
        ({}, "any"),
    ],
)
def test_kinds_that_no_suite_declares_come_from_the_schema_type(schema, kind):
    assert kind_of(schema) == kind


DATE = {"type": ["string", "null"], "format": "date"}
ROOT = {"$defs": {"Code": {"type": "string"}, "Day": {"type": "string", "format": "date"}}}
BY_SCHEMA = [
    # schema, accepted, found, the same?
    ({"type": ["string", "null"]}, "007", "7", False),
    ({"type": ["string", "null"]}, "007", "007", True),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "007", "7", False),
    ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "007", 7, False),
    ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 7, 7, True),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, 7, 7.0, True),
    (DATE, "2023-05-01", "2023/5/1", True),
    (DATE, "2023-05-01", "2023/5/2", False),
    ({"anyOf": [DATE, {"type": "integer"}]}, "2023-05-01", "20230501", True),
    ({"$ref": "#/$defs/Code"}, "007", "7", False),
    ({"$ref": "#/$defs/Day"}, "2023-05-01", "2023年5月1日", True),
    ({"anyOf": [{"$ref": "#/$defs/Day"}, {"type": "null"}]}, "2023-05-01", "2023.5.1", True),
    ({"allOf": [{"$ref": "#/$defs/Day"}]}, "2023-05-01", "20230501", True),
    ({"$ref": "#/$defs/None"}, "007", "7", False),
    ({"type": "array", "items": {"type": "string"}}, ["1.10"], ["1.1"], False),
    ({"type": "array", "items": {"type": "number"}}, [1.1], ["1.10"], True),
    ({"type": "array", "items": {"$ref": "#/$defs/Day"}}, ["2023-05-01"], ["2023/5/1"], True),
    ({"type": "array", "items": {"enum": ["A", "a"]}}, ["A"], ["a"], False),
    ({"type": ["array", "null"], "items": {"type": "string"}}, ["07"], ["7"], False),
    ({"prefixItems": [{"type": "string"}, {"type": "number"}]}, ["07", 1], ["07", "1.0"], True),
    ({"type": "array", "items": {"type": "string"}}, ["a", "b"], ["b", "a"], False),
    (
        {"type": "object", "properties": {"id": {"type": "string"}}},
        {"id": "07"},
        {"id": "7"},
        False,
    ),
    (
        {"type": "object", "properties": {"on": DATE}},
        {"on": "2023-05-01"},
        {"on": "2023/5/1"},
        True,
    ),
    ({"type": "object", "additionalProperties": {"type": "number"}}, {"a": 1}, {"a": "1.0"}, True),
    ({"type": "object", "properties": {"n": {"default": 1}}}, {"a": 1}, {"a": 1, "n": 1}, True),
    ({"type": "object"}, {"a": 1}, {"a": 1, "b": 2}, False),
    ({"enum": ["Low", "low"]}, "Low", "low", False),
    ({"type": "string", "format": "password"}, "Pa55", "pa55", False),
    ({"type": "string", "format": "date-time"}, "2023-05-01T09:00", "2023-05-01 9:00", True),
    ({"type": "string", "format": "uuid"}, "AB-1", "ab-1", True),
    ({"type": ["string", "null"]}, {"null": True}, None, True),
    ({"type": ["string", "null"]}, "x", None, False),
    ({}, "007", 7, False),
    ({}, [1, "a"], [1.0, "a"], True),
]


@pytest.mark.parametrize(("schema", "accepted", "found", "same"), BY_SCHEMA)
def test_values_are_compared_by_their_elements_schema(schema, accepted, found, same):
    assert equal_by_schema(schema, accepted, found, None, ROOT) is same


def test_a_declared_kind_counts_for_each_element_of_a_list():
    schema = {"type": "array", "items": {"type": "string"}}
    assert equal_by_schema(schema, ["江苏"], ["江苏省"], "place")
    assert not equal_by_schema(schema, ["江苏"], ["江西"], "place")


def test_a_schema_that_refers_to_itself_ends():
    root = {
        "$defs": {"Loop": {"$ref": "#/$defs/Loop"}, "Tree": {"anyOf": [{"$ref": "#/$defs/Tree"}]}}
    }
    for name in ("Loop", "Tree"):
        assert not equal_by_schema({"$ref": f"#/$defs/{name}"}, "a", "b", None, root)


@settings(deadline=None)
@given(schema=JSON.filter(lambda value: isinstance(value, dict)), value=JSON, other=JSON)
def test_comparison_by_any_schema_never_raises(schema, value, other):
    assert isinstance(equal_by_schema({"type": "array", "items": schema}, value, other), bool)


def test_an_address_that_is_none_is_another_value_and_no_error() -> None:
    assert not equal("url", "https://juhe.cn", "https://[juhe.cn")
    assert equal("url", "https://[juhe.cn", "https://[juhe.cn")
