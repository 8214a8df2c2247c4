"""What the eleven tools say: real names, consistent ids, computed figures."""

import datetime
import json

import pytest

from matinee.evaluation.simulation import lookup, world
from matinee.evaluation.simulation.airports import airports, meant_by
from matinee.evaluation.simulation.environment import air_quality_index, water_class
from matinee.evaluation.simulation.places import cities, cities_named, provinces
from matinee.evaluation.simulation.resources import world_file
from matinee.runtime.errors import ScenarioError

TODAY = datetime.date(2024, 1, 25)
CAPITALS = """
北京 天津 石家庄 太原 呼和浩特 沈阳 长春 哈尔滨 上海 南京 杭州 合肥 福州 南昌 济南 郑州 武汉 长沙
广州 南宁 海口 重庆 成都 贵阳 昆明 拉萨 西安 兰州 西宁 银川 乌鲁木齐 香港 澳门 台北
"""


def result(name, *, today=TODAY, **arguments):
    observation = world(today).call(name, json.dumps(arguments))
    assert observation.error is None, observation.content
    return json.loads(observation.content)["result"]


def error(name, *, today=TODAY, **arguments):
    return world(today).call(name, json.dumps(arguments)).error


class TestPlaces:
    def test_there_are_34_provinces_and_every_capital(self):
        assert len(provinces()) == 34
        assert [
            len(cities_named(capital) & set(province.cities))
            for capital, province in zip(CAPITALS.split(), provinces(), strict=True)
        ] == [1] * 34

    def test_ids_are_unique_and_are_not_the_official_codes(self):
        ids = [province.id for province in provinces()] + list(cities())
        assert len(set(ids)) == len(ids)
        assert lookup("province_id", "北京") != "11"
        assert all(len(number) in (3, 5) for number in ids)

    def test_the_chain_of_three_holds_for_every_city(self):
        simulation = world(TODAY)
        listed = 0
        for province in json.loads(simulation.call("get_province_list", "{}").content)["result"]:
            arguments = json.dumps({"province_id": province["id"]})
            for city in json.loads(simulation.call("get_cities_list", arguments).content)["result"]:
                asked = json.dumps({"city_id": city["id"], "weather_date": "2023-05-01"})
                assert simulation.call("get_history_weather", asked).error in (None, "no_record")
                listed += 1
        assert listed == len(cities()) > 340

    def test_a_province_id_is_no_city_id(self):
        number = lookup("province_id", "江苏")
        assert error("get_history_weather", city_id=number, weather_date="2023-05-01") == (
            "not_found"
        )


class TestLookup:
    @pytest.mark.parametrize(
        ("kind", "one", "other"),
        [
            ("province_id", "江苏", "江苏省"),
            ("province_id", "新疆", "新疆维吾尔自治区"),
            ("city_id", "苏州", "苏州市"),
            ("city_id", "大理", "大理白族自治州"),
            ("city_id", "大理", "大理州"),
            ("airport_code", "浦东机场", "上海浦东国际机场"),
            ("airport_code", "广州", "CAN"),
        ],
    )
    def test_a_suffix_does_not_matter(self, kind, one, other):
        assert lookup(kind, one) == lookup(kind, other)

    def test_the_id_is_the_one_that_the_tool_gives(self):
        listed = result("get_cities_list", province_id=lookup("province_id", "四川"))
        assert {"成都市": lookup("city_id", "成都")}.items() <= {
            city["city_name"]: city["id"] for city in listed
        }.items()

    def test_every_place_is_found_by_its_full_name(self):
        for province in provinces():
            assert lookup("province_id", province.name) == province.id
        for city in cities().values():
            assert lookup("city_id", city.name) == city.id

    def test_a_misspelled_name_is_refused_with_close_ones(self):
        with pytest.raises(ScenarioError, match="哈尔滨"):
            lookup("city_id", "哈尔宾")
        with pytest.raises(ScenarioError, match="首都"):
            lookup("airport_code", "北京首都国际飞机场")

    def test_a_city_with_two_airports_is_refused_with_both(self):
        with pytest.raises(ScenarioError, match=r"PEK.*PKX"):
            lookup("airport_code", "北京")

    def test_an_unknown_kind_is_refused(self):
        with pytest.raises(ScenarioError, match="province_id"):
            lookup("street_id", "长安街")


class TestWeather:
    NANJING = lookup("city_id", "南京")

    def test_records_go_from_2011_to_yesterday(self):
        def at(day):
            return error("get_history_weather", city_id=self.NANJING, weather_date=day)

        assert at("2010-12-31") == at("2024-01-25") == at("2024-01-26") == "out_of_range"
        assert at("2011-01-01") in (None, "no_record")
        assert at("2024-01-24") in (None, "no_record")

    def test_a_past_day_stays_as_it_was(self):
        asked = {"city_id": self.NANJING, "weather_date": "2023-05-02"}
        assert result("get_history_weather", **asked) == result(
            "get_history_weather", today=datetime.date(2025, 6, 1), **asked
        )

    def test_a_few_days_have_no_record(self):
        simulation = world(TODAY)
        days = [datetime.date(2023, 1, 1) + datetime.timedelta(days=n) for n in range(300)]
        missing = sum(
            simulation.call(
                "get_history_weather",
                json.dumps({"city_id": self.NANJING, "weather_date": str(day)}),
            ).error
            == "no_record"
            for day in days
        )
        assert 0 < missing < 40

    def test_winter_in_harbin_is_colder_than_summer_in_guangzhou(self):
        def high(city, day):
            found = result("get_history_weather", city_id=lookup("city_id", city), weather_date=day)
            return int(found["day_temp"].removesuffix("℃"))

        assert high("哈尔滨", "2023-01-16") < 0
        assert high("广州", "2023-07-16") > 24


class TestEnvironment:
    def test_a_city_is_known_by_name_and_by_pinyin(self):
        (found,) = result("get_environment_air_pm", city="上海")
        for spelling in ("上海市", "shanghai", "Shang Hai", "SHANGHAI"):
            assert result("get_environment_air_pm", city=spelling) == [found]

    def test_pinyin_of_several_cities_gets_all_of_them(self):
        found = result("get_environment_air_pm", city="fuzhou")
        assert {one["city"] for one in found} == {"福州市", "抚州市"}

    @pytest.mark.parametrize(
        ("pm25", "index"),
        [(0, 0), (35, 50), (36, 52), (75, 100), (150, 200), (500, 500), (900, 500)],
    )
    def test_the_index_follows_the_standard(self, pm25, index):
        assert air_quality_index(pm25) == index

    def test_filters_of_the_sections_combine(self):
        found = result("get_river_environment", province="江苏", river="淮河")
        assert {(one["province"], one["river"]) for one in found["list"]} == {
            ("江苏省", "淮河流域")
        }
        (only,) = result("get_river_environment", section="鼓楼外大街")["list"]
        assert (only["province"], only["river"]) == ("北京市", "海河流域")

    def test_pages_hold_every_section_once(self):
        total = result("get_river_environment")["total"]
        names = []
        for page in range(1, total // 20 + 3):
            names += [
                (one["river"], one["section"])
                for one in result("get_river_environment", page=page)["list"]
            ]
        assert len(names) == len(set(names)) == total > 60

    def test_every_section_lies_in_a_real_province(self):
        listed = {province for by in world_file("rivers").values() for province in by}
        assert listed <= {province.name for province in provinces()}

    @pytest.mark.parametrize(
        ("readings", "name"),
        [
            ((8.0, 1.0, 0.1), "Ⅰ"),
            ((6.0, 1.0, 0.1), "Ⅱ"),
            ((8.0, 6.1, 0.1), "Ⅳ"),
            ((8.0, 1.0, 2.1), "劣Ⅴ"),
            ((1.9, 1.0, 0.1), "劣Ⅴ"),
        ],
    )
    def test_the_worst_reading_gives_the_class(self, readings, name):
        assert water_class(*readings) == name


class TestNews:
    def test_pages_do_not_overlap_and_end(self):
        pages = [result("get_toutiao_news", type="keji", page=str(n))["data"] for n in (1, 2, 3, 4)]
        keys = [item["uniquekey"] for page in pages for item in page]
        assert [len(page) for page in pages] == [30, 30, 4, 0]
        assert len(set(keys)) == len(keys)

    def test_the_type_decides_and_top_is_the_default(self):
        assert result("get_toutiao_news") == result("get_toutiao_news", type="top")
        assert {item["category"] for item in result("get_toutiao_news", type="tiyu")["data"]} == {
            "体育"
        }

    def test_the_filter_leaves_only_items_with_text(self):
        every = result("get_toutiao_news", is_filter="0")["data"]
        with_text = result("get_toutiao_news", is_filter="1")["data"]
        assert {item["is_content"] for item in every} == {"0", "1"}
        assert {item["is_content"] for item in with_text} == {"1"}

    def test_the_page_has_the_size_asked_for(self):
        assert len(result("get_toutiao_news", page_size="5")["data"]) == 5


class TestVehicles:
    @pytest.mark.parametrize(
        ("kind", "registered", "offence", "due", "technical"),
        [
            ("3", "2023-03-10", 0, "2025-03-10", False),  # year 2: mark only
            ("3", "2018-03-10", 0, "2024-03-10", True),  # year 6
            ("3", "2016-03-10", 0, "2024-03-10", False),  # year 8: mark only since 2022
            ("3", "2014-03-10", 0, "2024-03-10", True),  # year 10
            ("3", "2010-03-10", 0, "2024-03-10", True),  # yearly after year 10
            ("3", "2006-10-10", 0, "2024-10-10", True),  # yearly even after year 15
            ("3", "2017-03-10", 1, "2024-03-10", True),  # article 16: yearly after year 6
            ("3", "2006-10-10", 1, "2024-04-10", True),  # article 16: half-yearly after year 15
            ("4", "2019-02-01", 0, "2025-02-01", True),  # motorcycle, year 6
            ("4", "2019-02-01", 1, "2024-02-01", True),  # motorcycle, article 16
            ("6", "2019-02-01", 0, "2025-02-01", True),  # van, year 6
            ("6", "2022-02-01", 0, "2024-02-01", True),  # van, year 2: inspected all the same
            ("7", "2017-03-10", 0, "2024-03-10", True),
            ("1", "2020-02-01", 0, "2024-02-01", True),  # yearly up to year 5
            ("1", "2017-08-01", 0, "2024-02-01", True),  # then half-yearly
            ("2", "2015-02-01", 0, "2024-02-01", True),  # yearly up to year 10
            ("2", "2010-08-01", 0, "2024-02-01", True),  # then half-yearly
            ("5", "2000-02-01", 0, "2024-02-01", True),
            ("3", "2018-01-25", 0, "2024-01-25", True),  # due today
            ("5", "2020-02-29", 0, "2024-02-29", True),  # back to the 29th in a leap year
            ("1", "2023-01-31", 0, "2025-01-31", True),
        ],
    )
    def test_the_due_date_follows_the_rules(self, kind, registered, offence, due, technical):
        today = TODAY if registered != "2023-01-31" else datetime.date(2024, 2, 1)
        found = result("chejian_query", today=today, type=kind, reg_date=registered, iis_sg=offence)
        assert (found["next_date"], found["online_check"]) == (due, technical)

    def test_a_day_that_the_month_lacks_becomes_its_last(self):
        found = result(
            "chejian_query", type="5", reg_date="2020-02-29", today=datetime.date(2023, 1, 1)
        )
        assert found["next_date"] == "2023-02-28"


class TestLoans:
    @pytest.mark.parametrize("money", [1, 70, 500])
    @pytest.mark.parametrize("year", [5, 30])
    @pytest.mark.parametrize("active", ["3.25", "2.6", "0.01"])
    def test_the_instalments_pay_off_the_loan(self, money, year, active):
        instalments, principal = result("loan_calc_query", money=money, year=year, active=active)[
            "plans"
        ]
        rate = float(active) / 1200
        owed = money * 10_000.0
        for _ in range(year * 12):
            owed = owed * (1 + rate) - instalments["monthly_payment"]
        # Rounding to the cent each month adds up to a few yuan at most.
        assert abs(owed) < year * 12 * 0.01 * (1 + rate) ** (year * 12)

        owed, paid = money * 10_000.0, 0.0
        share = owed / (year * 12)
        for _ in range(year * 12):
            paid += share + owed * rate
            owed -= share
        assert principal["total_payment"] == pytest.approx(paid, abs=0.01)
        assert principal["total_interest"] <= instalments["total_interest"]

    def test_a_known_loan(self):
        # 700,000 yuan over 20 years at 3.25 %.
        instalments, principal = result("loan_calc_query", money=70, year=20)["plans"]
        assert instalments["monthly_payment"] == 3970.37
        assert (principal["first_payment"], principal["monthly_decrease"]) == (4812.5, 7.9)
        assert principal["last_payment"] == 2924.57


class TestSites:
    def test_a_domain_is_found_however_it_is_written(self):
        found = result("icp_query", domainName="juhe.cn")
        assert found == result("icp_query", domainName="https://www.JUHE.cn/")
        assert found["company_name"].startswith("天聚地合")
        assert found["icp_number"].startswith("苏ICP备")


class TestAirports:
    def test_there_are_over_120_codes_of_three_letters(self):
        assert len(airports()) >= 120
        assert all(len(code) == 3 and code.isupper() for code in airports())

    @pytest.mark.parametrize(
        ("keyword", "codes"),
        [
            ("北京", {"PEK", "PKX"}),
            ("Shanghai", {"PVG", "SHA"}),
            ("虹桥机场", {"SHA"}),
            ("乌鲁木齐地窝堡", {"URC"}),
            ("xi'an", {"XIY"}),
            ("JFK", {"JFK"}),
            ("汕头", {"SWA"}),
            ("东京羽田机场", {"HND"}),
            ("Hong Kong", {"HKG"}),
            ("国际机场", set()),
            ("", set()),
        ],
    )
    def test_a_keyword_means_the_airports_of_its_city_or_itself(self, keyword, codes):
        assert meant_by(keyword) == codes

    def test_every_airport_is_found_by_code_and_by_its_names(self):
        for airport in airports().values():
            assert airport.code in meant_by(airport.city)
            assert airport.code in meant_by(airport.city_english)
            assert meant_by(airport.code) == {airport.code}
            assert meant_by(airport.name) == {airport.code}, airport.name
            assert airport.code in meant_by(airport.name_english)

    def test_part_of_a_name_is_searched_and_paged(self):
        first = result("airport_query", airport="国际", per_page=3)
        second = result("airport_query", airport="国际", per_page=3, page=2)
        assert first["total"] == second["total"] > 100
        assert len(first["list"]) == len(second["list"]) == 3
        assert first["list"] != second["list"]

    def test_the_chain_of_two_holds_for_every_domestic_airport(self):
        for airport in airports().values():
            if airport.domestic:
                (found, *_) = result("airport_query", airport=airport.name)["list"]
                listed = result("aptabnormal_query", airport=found["code"])
                assert listed["total"] == len(listed["list"]) <= 6
                assert airport.name not in {flight["destination"] for flight in listed["list"]}

    def test_irregular_flights_are_delayed_or_cancelled(self):
        for code in ("PEK", "CAN", "CTU"):
            for flight in result("aptabnormal_query", airport=code)["list"]:
                assert (flight["status"] == "取消") == (flight["delay_minutes"] is None)
