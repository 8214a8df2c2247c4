"""Scenarios with outputs of a model: which succeed, and which fail with which error class."""

from __future__ import annotations

from playing import DONE, call, gold, says, scenario, turn

from matinee.evaluation.simulation import lookup
from matinee.messages.scenarios import Fault, Scenario, Slot, Turn

AIR = "get_environment_air_pm"
NEWS = "get_toutiao_news"
LOAN = "loan_calc_query"
PROVINCES, CITIES, WEATHER = "get_province_list", "get_cities_list", "get_history_weather"
AIRPORT, FLIGHTS = "airport_query", "aptabnormal_query"
DAY = "2023-05-01"

JIANGSU = {"lookup": "province_id", "name": "江苏"}
NANJING = {"lookup": "city_id", "name": "南京"}

air = scenario(turn(gold(AIR, city=["上海", "上海市"])))
news = scenario(turn(gold(NEWS, type="tiyu", page=["2", None])))
loan = scenario(turn(gold(LOAN, money=70, year=20)))
parallel = scenario(turn(gold(AIR, city="上海"), gold(AIR, city="北京")))
chain = scenario(
    turn(
        gold(PROVINCES),
        gold(CITIES, after=[0], province_id=JIANGSU),
        gold(WEATHER, after=[1], city_id=NANJING, weather_date=DAY),
    )
)
ask_city = scenario(turn(gold(AIR, city="上海"), ask={"城市": "上海"}))
ask_two = scenario(turn(gold(LOAN, money=70, year=20), ask={"金额": "70万", "年限": "20年"}))
ask_unknown = scenario(turn(ask={"城市": None}))
nothing = scenario(turn(user="讲个笑话"))
retry = scenario(
    turn(gold(AIR, city="上海"), gold(AIR, after=[0], city="上海")),
    faults=[Fault(tool=AIR, nth=1, kind="timeout")],
)
retry_unlisted = air.model_copy(update={"faults": retry.faults})


def province() -> str:
    return lookup("province_id", "江苏")


def city(name: str = "南京") -> str:
    return lookup("city_id", name)


def the_chain() -> list[str]:
    return [
        says(call(PROVINCES)),
        says(call(CITIES, province_id=province())),
        says(call(WEATHER, city_id=city(), weather_date=DAY)),
        DONE,
    ]


SHANGHAI = says(call(AIR, city="上海"))
LIMIT = Slot(asked_by=("500", "上限"))
over = scenario(Turn(user="公积金贷600万，20年", invalid=("money",), slots={"money": LIMIT}))
corrected = scenario(
    Turn(
        user="公积金贷600万，20年",
        invalid=("money",),
        slots={"money": LIMIT.model_copy(update={"answer": "那就贷400万"})},
        calls=(gold(LOAN, money=400, year=20),),
    )
)
either = scenario(
    Turn(
        user="上海或北京的空气",
        calls=(gold(AIR, city="上海"),),
        alternatives=((gold(AIR, city="北京"),),),
    )
)
follow_up = scenario(
    Turn(
        user="福州的空气",
        calls=(gold(AIR, city="福州"),),
        ask_after=("city",),
        slots={"city": Slot(asked_by=("哪个", "还是"))},
    ),
    turn(gold(AIR, city="抚州")),
)
told = scenario(Turn(user="上海的空气", calls=(gold(AIR, city="上海"),), must_say=(("优", "良"),)))
OVER = says(call(LOAN, money=600, year=20))
FUZHOU = says(call(AIR, city="福州"))

GOOD: dict[str, tuple[Scenario, list[str]]] = {
    "the call": (air, [SHANGHAI, DONE]),
    "another accepted value": (air, [says(call(AIR, city="上海市")), DONE]),
    "text around the call": (air, ["我来查。\n" + SHANGHAI, DONE]),
    "an offer at the end": (air, [SHANGHAI, DONE + "还有什么可以帮您的吗？"]),
    "an absent parameter": (news, [says(call(NEWS, type="tiyu")), DONE]),
    "an accepted optional one": (news, [says(call(NEWS, type="tiyu", page="2")), DONE]),
    "a default spelled out": (news, [says(call(NEWS, type="tiyu", page_size="30")), DONE]),
    "unreadable, then corrected": (air, ["<tool_call>上海</tool_call>", SHANGHAI, DONE]),
    "unknown tool, then corrected": (air, [says(call("air", city="上海")), SHANGHAI, DONE]),
    "schema, then corrected": (air, [says(call(AIR)), SHANGHAI, DONE]),
    "independent calls at once": (
        parallel,
        [says(call(AIR, city="北京"), call(AIR, city="上海")), DONE],
    ),
    "independent calls in turn": (parallel, [says(call(AIR, city="北京")), SHANGHAI, DONE]),
    "a chain": (chain, []),
    "asked, answered, called": (ask_city, ["请问是哪个城市？", SHANGHAI, DONE]),
    "asked one after the other": (
        ask_two,
        ["请问贷款金额是多少？", "年限呢？", says(call(LOAN, money=70, year=20)), DONE],
    ),
    "asked at once": (
        ask_two,
        ["请告诉我金额和年限。", says(call(LOAN, money=70, year=20)), DONE],
    ),
    "asked, not known": (ask_unknown, ["请问是哪个城市？", "那就查不了。"]),
    "nothing to call": (nothing, ["从前有座山。"]),
    "a question where nothing is to be called": (nothing, ["想听哪一类的？"]),
    "a retry": (retry, [SHANGHAI, SHANGHAI, DONE]),
    "a limit named": (over, ["贷款额度上限是500万，请您调整。"]),
    "a limit named after the tool refused": (over, [OVER, "最多只能贷500万元。"]),
    "a limit named, then the corrected call": (
        corrected,
        ["贷款金额不能超过500万。", says(call(LOAN, money=400, year=20)), DONE],
    ),
    "the first of two ways": (either, [SHANGHAI, DONE]),
    "the other of two ways": (either, [says(call(AIR, city="北京")), DONE]),
    "a question that a result forces": (
        follow_up,
        [FUZHOU, "有两个读音相同的城市，请问您指哪个？", says(call(AIR, city="抚州")), DONE],
    ),
    "what must be said": (told, [SHANGHAI, "上海今天空气优。"]),
    "a retry that the scenario does not list": (retry_unlisted, [SHANGHAI, SHANGHAI, DONE]),
}


def bad() -> dict[str, tuple[str, Scenario, list[str]]]:
    first, second, third, _ = the_chain()
    beijing = says(call(AIR, city="北京"))
    return {
        "no call": ("no_call", air, ["上海空气很好。"]),
        "nothing said": ("empty", air, [""]),
        "the request again": ("echo", air, [air.turns[0].user]),
        "a call in another form": (
            "call_in_other_form",
            air,
            [f'```json\n{{"name": "{AIR}", "arguments": {{"city": "上海"}}}}\n```'],
        ),
        "noise": ("garbage", nothing, ["？？！！……？？"]),
        "another tool, refused": ("wrong_tool", air, [says(call(LOAN, city="上海")), DONE]),
        "a call for nothing": ("unneeded_call", nothing, [SHANGHAI, DONE]),
        "an unknown call for nothing": ("unneeded_call", nothing, [says(call("joke")), DONE]),
        "a broken call for nothing": ("unparsable", nothing, ["<tool_call>", DONE]),
        "one call more": ("unneeded_call", air, [SHANGHAI, beijing, DONE]),
        "another tool": ("wrong_tool", air, [says(call(NEWS)), DONE]),
        "another tool besides": ("wrong_tool", air, [SHANGHAI, says(call(NEWS)), DONE]),
        "no such tool": ("unknown_tool", air, [says(call("air", city="上海")), DONE]),
        "not parsed": ("unparsable", air, ["<tool_call>上海</tool_call>", DONE]),
        "wrong type": ("schema_violation", loan, [says(call(LOAN, money="70", year=20)), DONE]),
        "a value that the tool refuses": (
            "wrong_value",
            loan,
            [says(call(LOAN, money=70, year=7)), DONE],
        ),
        "null": ("schema_violation", air, [says(call(AIR, city=None)), DONE]),
        "required one absent": ("missing_argument", loan, [says(call(LOAN, money=70)), DONE]),
        "asked-for one absent": ("missing_argument", news, [says(call(NEWS)), DONE]),
        "no such parameter": ("extra_argument", air, [says(call(AIR, city="上海", x=1)), DONE]),
        "one that was not asked for": (
            "extra_argument",
            news,
            [says(call(NEWS, type="tiyu", page_size="5")), DONE],
        ),
        "another value": ("wrong_value", air, [beijing, DONE]),
        "another of two": ("wrong_value", parallel, [SHANGHAI, says(call(AIR, city="广州")), DONE]),
        "wrong id that was seen": (
            "wrong_value",
            chain,
            [first, second, says(call(WEATHER, city_id=city("苏州"), weather_date=DAY)), DONE],
        ),
        "a form that the tool refuses": (
            "schema_violation",
            chain,
            [first, second, says(call(WEATHER, city_id=city(), weather_date="2023/05/01")), DONE],
        ),
        "invented id": (
            "invented_value",
            chain,
            [first, says(call(CITIES, province_id="js")), DONE],
        ),
        "right id, not looked up": ("invented_value", chain, [second, third, DONE]),
        "ids of the same output": (
            "invented_value",
            chain,
            [first + "\n" + second, third, DONE],
        ),
        "did not wait": ("wrong_order", retry, [SHANGHAI + "\n" + SHANGHAI, DONE]),
        "the same again": ("repeated_call", air, [SHANGHAI, SHANGHAI, DONE]),
        "the same twice at once": ("repeated_call", air, [SHANGHAI + "\n" + SHANGHAI, DONE]),
        "the same again after a retry": ("repeated_call", retry, [*[SHANGHAI] * 3, DONE]),
        "another value, retried": ("wrong_value", retry_unlisted, [beijing, beijing, DONE]),
        "the same for ever": ("repeated_call", air, [SHANGHAI] * 3),
        "one of two": ("missing_call", parallel, [SHANGHAI, DONE]),
        "asked instead": ("asked_needlessly", air, ["请问您想查哪个城市？"]),
        "asked half-way": ("asked_needlessly", chain, [first, "请问是哪个省？"]),
        "asked for something else": ("asked_wrong_thing", ask_city, ["请问是哪一天？"]),
        "neither asked nor called": ("gave_up", ask_city, ["查不到。"]),
        "asked, then silent": ("gave_up", ask_city, ["请问是哪个城市？", "好的。"]),
        "asked for one of two": ("gave_up", ask_two, ["请问金额是多少？", "好的。"]),
        "gave up after an error": ("gave_up", retry, [SHANGHAI, "超时了，查不到。"]),
        "called before asking": ("invented_value", ask_city, [SHANGHAI, DONE]),
        "another tool before asking": ("wrong_tool", ask_city, [says(call(NEWS)), DONE]),
        "incomplete before asking": ("missing_argument", ask_city, [says(call(AIR)), DONE]),
        "broken before asking": ("unparsable", ask_city, ["<tool_call>", DONE]),
        "called between two questions": (
            "invented_value",
            ask_two,
            ["请问金额是多少？", says(call(LOAN, money=70, year=20)), DONE],
        ),
        "a limit not named": ("gave_up", over, ["好的，这就给您办。"]),
        "a limit kept to in silence": (
            "invented_value",
            over,
            [says(call(LOAN, money=500, year=20)), DONE],
        ),
        "both of two ways": ("unneeded_call", either, [SHANGHAI, beijing, DONE]),
        "no question where a result forces one": ("gave_up", follow_up, [FUZHOU, DONE, DONE]),
        "a part of the reply left out": ("unsaid", told, [SHANGHAI, "查好了。"]),
        "guessed, then looked up": (
            "invented_value",
            chain,
            [says(call(CITIES, province_id="17")), first, second, third, DONE],
        ),
        "invented after all": ("invented_value", ask_unknown, ["哪个城市？", SHANGHAI, DONE]),
    }
