"""An endpoint, asked over real HTTP: what is sent, what is tried again, what is never shown."""

from __future__ import annotations

import logging
import socket
import time
import traceback

import pytest
from pydantic import ValidationError

from endpoints import completion, serving
from overtone.data.chat import Turn
from overtone.errors import OvertoneError, UsageError
from overtone.inference.endpoint import Endpoint, EndpointConfig, EndpointError, Reply

KEY = "sk-very-secret-123"
ASKED = (Turn("system", "be brief"), Turn("user", "who signs?"))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("JUDGE_KEY", KEY)


def endpoint(url, **changes):
    return Endpoint(EndpointConfig(url=url, **{"model": "judge-7b", "backoff": 0.001, **changes}))


def test_what_is_asked_and_what_is_replied():
    first = [("2", 0.5), (" 2", 0.25), ("Score", 0.125)]
    with serving((200, completion("2", first)), (200, completion("no", None))) as (url, got):
        asked = endpoint(f"{url}/", key_variable="JUDGE_KEY", top_logprobs=7)
        one, two = asked.ask([ASKED, (Turn("user", "and who not?"),)], max_tokens=1)
    assert one.text == "2"
    assert one.first == pytest.approx(dict(first))
    assert two == Reply("no", {})
    path, headers, body = got[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "judge-7b",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "who signs?"}],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 7,
    }
    assert got[1][2]["messages"] == [{"role": "user", "content": "and who not?"}]
    assert url == f"http://{asked.host}/v1"


def test_no_key_and_no_probabilities_are_not_sent():
    with serving((200, completion("1"))) as (url, got):
        list(endpoint(url, top_logprobs=0).ask([ASKED], max_tokens=3))
    _, headers, body = got[0]
    assert "Authorization" not in headers
    assert "logprobs" not in body
    assert "top_logprobs" not in body
    assert body["max_tokens"] == 3


def test_tokens_that_are_written_alike_are_one():
    with serving((200, completion("2", [("2", 0.5), ("2", 0.25), ("1", 0.25)]))) as (url, _):
        (reply,) = endpoint(url).ask([ASKED], max_tokens=1)
    assert reply.first == pytest.approx({"2": 0.75, "1": 0.25})


@pytest.mark.parametrize("failure", [(429, {}), (500, b"oops"), (503, {}), (0, None)])
def test_what_may_pass_is_tried_again(failure):
    with serving(failure, failure, (200, completion("1"))) as (url, got):
        (reply,) = endpoint(url, retries=2).ask([ASKED], max_tokens=1)
    assert reply.text == "1"
    assert len(got) == 3
    assert got[0][2] == got[2][2]


def test_waits_grow_and_an_endpoint_may_ask_for_more():
    with serving((503, {}), (503, {}), (503, {}), (200, completion("1"))) as (url, _):
        begin = time.monotonic()
        list(endpoint(url, backoff=0.05).ask([ASKED], max_tokens=1))
        assert time.monotonic() - begin >= 0.05 + 0.1 + 0.2
    with serving((429, {}, {"Retry-After": "0.3"}), (200, completion("1"))) as (url, _):
        begin = time.monotonic()
        list(endpoint(url).ask([ASKED], max_tokens=1))
        assert time.monotonic() - begin >= 0.3
    date = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    with serving((429, {}, date), (200, completion("1"))) as (url, got):
        list(endpoint(url).ask([ASKED], max_tokens=1))
    assert len(got) == 2


def test_an_endpoint_that_stays_busy_is_given_up():
    told = r"(?s)/v1/chat.*429 Too Many Requests \(too many requests\) after 3 tries.*→"
    with (
        serving((429, {"error": {"message": "too many\n requests"}})) as (url, got),
        pytest.raises(EndpointError, match=told),
    ):
        list(endpoint(url, retries=2).ask([ASKED], max_tokens=1))
    assert len(got) == 3


def test_silence_is_a_failure():
    with (
        serving((0, 0.5)) as (url, got),
        pytest.raises(EndpointError, match=r"(?s)after 2 tries.*0\.05 seconds.*timeout"),
    ):
        list(endpoint(url, timeout=0.05, retries=1).ask([ASKED], max_tokens=1))
    assert len(got) == 2


def test_nobody_there():
    with socket.socket() as taken:  # bound and not listening: a connection is refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(EndpointError, match=r"(?s)does not answer after 1 tries.*is it running"):
            list(endpoint(url, retries=0).ask([ASKED], max_tokens=1))


@pytest.mark.parametrize(
    ("status", "body", "variable", "message"),
    [
        (401, {"error": {"message": "bad key"}}, "JUDGE_KEY", r"401.*bad key.*the key in JUDGE_KEY"),
        (403, {"error": "no key"}, None, r"403.*no key.*set key_variable"),
        (404, b"not here", None, r"404 Not Found \(not here\).*/v1.*'judge-7b'"),
        (400, {"message": "top_logprobs must be <= 5"}, None, r"must be <= 5.*set top_logprobs lower"),
        (307, b"", None, r"307.*OpenAI-compatible"),
    ],
)
def test_a_refusal_says_what_to_do_and_is_final(status, body, variable, message):
    with (
        serving((status, body, {"Location": "/elsewhere"})) as (url, got),
        pytest.raises(EndpointError, match=f"(?s){message}"),
    ):
        list(endpoint(url, key_variable=variable).ask([ASKED], max_tokens=1))
    assert len(got) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        [],
        {"choices": []},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": "2"}, "logprobs": {"content": [{"top_logprobs": [{}]}]}}]},
        {"choices": [{"message": {"content": "2"}, "logprobs": "many"}]},
    ],
)
def test_something_else_than_a_completion(answer):
    with (
        serving((200, answer)) as (url, _),
        pytest.raises(EndpointError, match="something else than a chat completion"),
    ):
        list(endpoint(url).ask([ASKED], max_tokens=1))


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, {"content": [{}]}])
def test_no_probabilities_in_any_form(logprobs):
    answer = {"choices": [{"message": {"content": None}, "logprobs": logprobs}]}
    with serving((200, answer)) as (url, _):
        assert list(endpoint(url).ask([ASKED], max_tokens=1)) == [Reply("", {})]


def test_replies_come_one_by_one():
    with serving((200, completion("1"))) as (url, got):
        replies = endpoint(url).ask([ASKED] * 3, max_tokens=1)
        assert not got
        next(replies)
        assert len(got) == 1
        replies.close()
    assert len(got) == 1


def test_the_key_is_shown_nowhere(caplog):
    caplog.set_level(logging.DEBUG)
    with serving((401, {"error": {"message": f"{KEY} is not a key"}})) as (url, _):
        asked = endpoint(url, key_variable="JUDGE_KEY")
        with pytest.raises(EndpointError, match=r"\[key\] is not a key") as refused:
            list(asked.ask([ASKED], max_tokens=1))
    with serving((500, f"Authorization: Bearer {KEY}".encode())) as (url, _):
        asked = endpoint(url, key_variable="JUDGE_KEY", retries=0)
        with pytest.raises(EndpointError) as failed:
            list(asked.ask([ASKED], max_tokens=1))
    told = (
        "".join("".join(traceback.format_exception(each.value)) for each in (refused, failed))
        + f"{asked!r} {asked.config!r} {asked.config.model_dump_json()}"
    )
    assert caplog.records  # the client does log
    assert KEY not in caplog.text
    assert KEY not in told


@pytest.mark.parametrize("key", ["", "  ", "sk-one\nsk-two", "sk one", "sk-ключ"])
def test_a_key_that_is_none_is_refused_unseen(monkeypatch, key):
    monkeypatch.setenv("JUDGE_KEY", key)
    with pytest.raises(UsageError, match="the environment variable JUDGE_KEY holds") as refused:
        endpoint("http://localhost/v1", key_variable="JUDGE_KEY")
    assert "sk" not in str(refused.value)
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(UsageError, match="export JUDGE_KEY="):
        endpoint("http://localhost/v1", key_variable="JUDGE_KEY")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000/v1",
        "ftp://h/v1",
        "http://",
        "http://h:port/v1",
        "http://h:65536/v1",
        "https://me:pass@h/v1",
        "https://me:pa/ss@h/v1",
        "https://h/v1?key=pass",
        "https://h/v1#pass",
    ],
)
def test_a_url_that_is_none_or_holds_a_secret(url):
    with pytest.raises(UsageError, match="the url of the endpoint") as refused:
        endpoint(url)
    assert "pa" not in str(refused.value).replace("password", "")
    assert isinstance(refused.value, OvertoneError)


def test_settings_out_of_range():
    for wrong in ({"timeout": 0}, {"retries": -1}, {"backoff": -1}, {"top_logprobs": 21}, {"modell": "x"}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            endpoint("http://localhost/v1", **wrong)
