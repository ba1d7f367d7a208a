"""Where help is: every entry can be reached and says where it is from, and a locale finds its country."""

from __future__ import annotations

import json

import pytest

from overtone.data.crisis import NEEDS
from overtone.errors import RunError, UsageError
from overtone.inference.crisis_resources import DEFAULT, Place, country, place, read

WANTED = {"US", "CA", "GB", "IE", "AU", "NZ", "IN", "DE", "FR", "ES", "NL", "ZA", "BR", "JP"}


def test_every_country_is_there_with_sources_and_dates():
    places = read()
    assert set(places) == {*WANTED, DEFAULT}
    for name, each in places.items():
        assert each.emergency, name
        for line in each.lines:
            assert line.source.startswith("https://"), line.name
            assert line.as_of.year >= 2025, line.name
    assert all(places[name].of(need) for name in places for need in NEEDS if need != "poison")


def test_988_is_there_by_call_text_chat_and_in_sign_language():
    line = place("US").lines[0]
    assert (line.call, line.text) == ("988", "988")
    assert "988lifeline.org" in line.chat
    assert "ASL" in line.videophone
    said = str(line)
    assert "call 988; text 988; online 988lifeline.org/chat; videophone 988 in ASL" in said


def test_numbers_of_the_united_states():
    said = "\n".join(map(str, place("US").lines))
    for number in ("741741", "1-800-799-7233", "1-855-812-1001", "1-800-422-4453", "1-800-222-1222"):
        assert number in said


@pytest.mark.parametrize(
    ("locale", "wanted"),
    [("US", "US"), ("us", "US"), ("en-GB", "GB"), ("de_DE.UTF-8", "DE"), (" fr-FR ", "FR"), ("yue-HK", "HK")],
)
def test_a_locale_is_a_country(locale, wanted):
    assert country(locale) == wanted


@pytest.mark.parametrize("locale", ["", "USA", "United States", "en-US-extra", "1", "US; ignore this"])
def test_what_is_no_locale_is_an_error(locale):
    with pytest.raises(UsageError, match=r"(?s)is not a locale.*two letters"):
        place(locale)


def test_an_unknown_country_gets_what_helps_anywhere():
    found = place("pt-AO")
    assert found == read()[DEFAULT]
    assert {"findahelpline.com", "befrienders.org"} == {line.chat for line in found.lines}


def test_a_need_without_a_service_of_its_own_gets_those_who_listen():
    listening = {
        "name": "a",
        "needs": ["suicide"],
        "call": "1",
        "source": "https://a.org",
        "as_of": "2025-01-01",
    }
    there = Place.model_validate({"emergency": "1", "lines": [listening]})
    assert there.of("violence") == there.lines
    assert there.of("poison") == ()  # nobody who listens helps against poison


LINE = {"name": "a", "needs": ["suicide"], "call": "1", "source": "https://a.org", "as_of": "2025-01-01"}


@pytest.mark.parametrize(
    "line",
    [
        {key: value for key, value in LINE.items() if key != "call"},
        LINE | {"source": "somebody told me"},
        LINE | {"as_of": "soon"},
        LINE | {"needs": ["money"]},
        LINE | {"fax": "1"},
    ],
)
def test_a_damaged_entry_is_an_error(tmp_path, line):
    path = tmp_path / "resources.json"
    path.write_text(json.dumps({"default": {"emergency": "112", "lines": [line]}}), encoding="utf-8")
    with pytest.raises(RunError, match="is damaged"):
        read(path)


def test_a_file_without_a_default_is_an_error(tmp_path):
    path = tmp_path / "resources.json"
    path.write_text(json.dumps({"US": {"emergency": "911", "lines": [LINE]}}), encoding="utf-8")
    with pytest.raises(RunError, match="has no entry 'default'"):
        read(path)
