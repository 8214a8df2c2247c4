"""Words and values belong together: dates, times, numbers, codes, and the template language."""

import random
from datetime import date, timedelta

import pytest

from matinee.data.synthesis.dates import draw_date, draw_time, system_date
from matinee.data.synthesis.naming import mask_tools, rename_parameters
from matinee.data.synthesis.texts import read_pair, read_word
from matinee.data.synthesis.values import Setting, fill_pattern, join_words, make_maker, word_maker
from matinee.data.synthesis.wording import droppable_alone, fill, manner, must_drop, roughen, shape

SATURDAY = date(2023, 5, 6)


def said_dates(period: str, language: str = "zh") -> dict[str, date]:
    rng = random.Random(1)
    return dict(
        draw_date(rng, language, period, SATURDAY)  # type: ignore[arg-type]
        for _ in range(3000)
    )


def test_the_system_message_tells_date_and_weekday() -> None:
    days = [SATURDAY + timedelta(days=7 * week) for week in range(3)]
    assert {system_date(day, "zh") for day in days} == {
        "今天是2023年5月6日，星期六。",
        "当前日期：2023-05-13，星期六。",
        "今天是2023年5月20日（2023-05-20），星期六。",
    }
    assert {system_date(day, "en") for day in days} == {
        "Today is Saturday, 6 May 2023.",
        "Current date: 2023-05-13, Saturday.",
        "Today is Saturday, 20 May 2023 (2023-05-20).",
    }


def test_relative_days_are_counted_from_today() -> None:
    past, future = said_dates("past"), said_dates("future")
    assert past["昨天"] == date(2023, 5, 5)
    assert past["大前天"] == date(2023, 5, 3)
    assert past["上周五"] == date(2023, 4, 28)
    assert past["3天前"] == date(2023, 5, 3)
    assert past["去年国庆节"] == date(2022, 10, 1)
    assert future["后天"] == date(2023, 5, 8)
    assert future["下周一"] == date(2023, 5, 8)


def test_english_relative_days() -> None:
    assert said_dates("past", "en")["Monday of last week"] == date(2023, 4, 24)
    assert said_dates("future", "en")["tomorrow"] == date(2023, 5, 7)


def test_past_is_before_and_future_is_not_before_today() -> None:
    assert all(day < SATURDAY for day in said_dates("past").values())
    assert all(day >= SATURDAY for day in said_dates("future").values())


def test_without_today_the_year_is_always_said() -> None:
    rng = random.Random(2)
    for _ in range(300):
        words, day = draw_date(rng, "zh", "past", None)
        assert str(day.year) in words


def test_times_of_day_in_words() -> None:
    rng = random.Random(3)
    said = dict(draw_time(rng, "zh") for _ in range(2000))
    assert said["下午三点"] == "15:00"
    assert said["晚上8点半"] == "20:30"
    assert said["中午十二点"] == "12:00"
    assert all(words for words in said)


def draws(expression: str, language: str = "zh") -> dict[str, object]:
    maker = make_maker(expression, {})
    setting = Setting(random.Random(4), language)  # type: ignore[arg-type]
    return {item.words: item.value for item in (maker.draw(setting) for _ in range(400))}


def test_numbers_may_be_said_in_chinese() -> None:
    drawn = draws("int 1..10")
    assert drawn["三"] == drawn["3"] == 3
    assert drawn["两"] == 2


def test_ten_thousands_are_values_in_units() -> None:
    assert draws("wan 1..9")["3万"] == 30000
    assert draws("wan 1..9", "en")["30,000"] == 30000


def test_steps_and_ranges_are_kept() -> None:
    assert set(draws("int 10..50 step 10").values()) == {10, 20, 30, 40, 50}


def test_codes_follow_their_pattern() -> None:
    filled = fill_pattern(random.Random(5), "AB-##?")
    assert filled.startswith("AB-")
    assert filled[3:5].isdigit()
    assert filled[5].isupper()


def test_a_coded_word_has_the_code_for_value() -> None:
    maker = word_maker((read_word("体检/检查 | check-up", "7"),))
    drawn = [maker.draw(Setting(random.Random(seed), "zh")) for seed in range(20)]
    assert {item.words for item in drawn} == {"体检", "检查"}
    assert {item.value for item in drawn} == {"7"}


@pytest.mark.parametrize("expression", ["int", "int a..b", "date someday", "code", "nothing"])
def test_unknown_makers_are_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        make_maker(expression, {})


def test_pairs_need_both_languages() -> None:
    assert read_pair("城市 | town").en == "town"
    with pytest.raises(ValueError, match="Chinese"):
        read_pair("城市")


def test_brackets_go_with_their_values() -> None:
    rng = random.Random(6)
    template = "<查|看>[{day}]{city}[的{kind}]"
    assert shape(rng, template, frozenset({"city"}))[1:] == "{city}"
    assert shape(rng, template, frozenset({"city", "kind"}))[1:] == "{city}的{kind}"


def test_what_can_be_left_out() -> None:
    template = "[{day}]{city}[从{start}到{end}]"
    assert droppable_alone(template, "day")
    assert not droppable_alone(template, "city")
    assert must_drop(template, "start") == {"start", "end"}


def test_digits_of_neighbouring_values_are_kept_apart() -> None:
    assert fill("{day}{time}开会", {"day": "2024-08-03", "time": "12:00"}) == "2024-08-03 12:00开会"
    assert fill("{day}{time}", {"day": "明天", "time": "12:00"}) == "明天12:00"


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill("{city}", {})


def test_slips_leave_values_alone() -> None:
    for seed in range(50):
        assert "{的}" in roughen(random.Random(seed), "帮我查{的}", "zh")


def test_small_words_agree_in_english() -> None:
    for seed in range(20):
        said = manner(random.Random(seed), "Open a urgent ticket on tomorrow", "en")
        assert "an urgent ticket tomorrow" in said


def test_lists_of_words() -> None:
    assert join_words(["甲", "乙", "丙"], "zh") == "甲、乙和丙"
    assert join_words(["a", "b"], "en") == "a and b"


def test_masks_are_new_unique_and_hide_the_original() -> None:
    originals = [f"tool_number_{index}" for index in range(20)]
    for seed in range(30):
        masked = mask_tools(random.Random(seed), originals)
        assert len(set(masked.values())) == 20
        assert not set(masked.values()) & set(originals)


def test_renamed_parameters_stay_distinct_within_a_tool() -> None:
    parameters = [("t", "start_date"), ("t", "end_date"), ("t", "size"), ("u", "size")]
    for seed in range(30):
        renamed = rename_parameters(random.Random(seed), parameters)
        assert len({new for (tool, _), new in renamed.items() if tool == "t"}) == 3
