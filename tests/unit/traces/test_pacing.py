"""The pace of asking: buckets never overspend, announced limits are followed, refusals hold everything back."""

import asyncio
import time

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import answers_per_second

from assets.traces.allowances import Allowance, Announced, announced, read_duration
from assets.traces.pacing import FIRST_WINDOW, Pace
from assets.traces.retrying import (
    FIRST_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    read_retry_after,
    read_trouble,
    waiting_seconds,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120ms", 0.12), ("6m0s", 360.0), ("1.5s", 1.5), ("1h2m", 3720.0), ("3", 3.0), ("", None), ("soon", None)],
)
def test_durations_as_servers_write_them(text: str, seconds: float | None) -> None:
    assert read_duration(text) == (None if seconds is None else pytest.approx(seconds))


def headers(limit: object, remaining: object, reset: str) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(remaining),
        "x-ratelimit-reset-requests": reset,
    }


def test_an_announced_limit_gives_its_refill() -> None:
    assert announced(headers(500, 0, "60s"), "requests") == Announced(500, 0, pytest.approx(500 / 60))
    window = announced(headers(600, 599, "59.9s"), "requests")
    assert window == Announced(600, 599, pytest.approx(10.0)), "limits that come back all at once are not crawled under"
    for wrong in ({}, headers("many", 0, "1s"), headers(5, 9, "1s"), headers(5, 1, "0s"), headers(0, 0, "1s")):
        assert announced(wrong, "requests") is None


@given(
    st.floats(0.1, 1000.0),
    st.floats(1.0, 1000.0),
    st.lists(st.tuples(st.floats(0.0, 2.0), st.floats(0.1, 50.0)), max_size=40),
)
def test_a_bucket_never_lets_more_through_than_it_held_and_refilled(rate, capacity, steps) -> None:
    bucket, now, taken = Allowance(rate, capacity, 0.0), 0.0, 0.0
    for passed, amount in steps:
        now += passed
        if bucket.wait(amount, now) == 0.0:
            bucket.take(amount, now)
            taken += amount
            assert taken <= capacity + rate * now + max(0.0, amount - capacity) + 1e-6
        else:
            later = now + bucket.wait(amount, now)
            assert bucket.wait(amount, later) == pytest.approx(0.0, abs=1e-6)
            now = later


def test_requests_pass_at_the_rate_of_the_tokens_they_take() -> None:
    async def ask() -> float:
        pace = Pace(tokens_per_minute=60_000)
        began = time.monotonic()
        for _ in range(4):
            turn = await pace.turn(400)
            pace.done(turn, 400)
        return time.monotonic() - began

    assert 0.55 < asyncio.run(ask()) < 5.0


def test_tokens_that_were_not_needed_are_given_back() -> None:
    async def ask() -> float:
        pace = Pace(tokens_per_minute=60_000)
        began = time.monotonic()
        for _ in range(4):
            turn = await pace.turn(400)
            pace.done(turn, 100)
        return time.monotonic() - began

    assert asyncio.run(ask()) < 0.5


def test_the_window_grows_with_answers_and_shrinks_only_when_many_fail() -> None:
    async def ask() -> list[float]:
        pace, windows = Pace(), []
        for num_failing in (0, 1, 20):
            turns = [await pace.turn(1) for _ in range(FIRST_WINDOW)]
            for index, turn in enumerate(turns):
                if index < num_failing:
                    pace.overloaded(turn, None)
                else:
                    pace.went_through(turn, {})
            for turn in turns:
                pace.done(turn, 1)
            windows.append(pace.window)
        return windows

    grown, unmoved, shrunk = asyncio.run(ask())
    assert grown > FIRST_WINDOW
    assert unmoved >= grown
    assert shrunk == pytest.approx(unmoved / 2)


def test_a_refusal_holds_everything_back_for_as_long_as_the_server_asks() -> None:
    async def ask() -> float:
        pace = Pace()
        turn = await pace.turn(1)
        pace.refused(turn, 0.3)
        pace.done(turn, 0)
        began = time.monotonic()
        await pace.turn(1)
        return time.monotonic() - began

    assert asyncio.run(ask()) >= 0.29


def sustained(moments: list[float]) -> float:
    """Answers per second over the middle 80 %."""
    first, last = len(moments) // 10, len(moments) * 9 // 10
    return (last - first) / (moments[last] - moments[first])


@pytest.mark.parametrize("is_announced", [True, False], ids=["announced", "found"])
@pytest.mark.parametrize(("per_second", "burst"), [(500.0, 100.0), (50.0, 10.0), (5.0, 5.0)])
def test_a_limit_is_used_nine_tenths_with_few_refusals(per_second: float, burst: float, is_announced: bool) -> None:
    num_requests = int(10 * per_second + 250)
    moments, num_refused = answers_per_second(
        num_requests=num_requests, per_second=per_second, burst=burst, is_announced=is_announced
    )
    assert len(moments) == num_requests
    assert sustained(moments) >= 0.9 * per_second
    assert num_refused < 0.3 * num_requests


@pytest.mark.parametrize("is_announced", [True, False], ids=["announced", "found"])
def test_a_process_that_stands_still_now_and_then_does_not_take_that_for_a_lower_limit(is_announced: bool) -> None:
    moments, _ = answers_per_second(stall_seconds=0.1, is_announced=is_announced)
    assert sustained(moments) >= 0.75 * 500.0


@pytest.mark.parametrize(("before", "after"), [(500.0, 100.0), (100.0, 400.0)])
def test_a_limit_that_changes_is_found_again(before: float, after: float) -> None:
    moments, num_refused = answers_per_second(num_requests=6_000, per_second=before, changes=(5.0, after))
    late = [moment for moment in moments if moment >= 20.0]
    assert len(late) > 500
    assert (len(late) - 1) / (late[-1] - late[0]) >= 0.85 * after
    assert num_refused < 0.35 * len(moments)


@given(st.integers(1, 50), st.none() | st.floats(0.0, 600.0))
def test_waits_are_bounded_and_never_shorter_than_asked(num_failed, retry_after) -> None:
    wait = waiting_seconds(num_failed, retry_after)
    if retry_after is None:
        assert 0.0 <= wait <= min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (num_failed - 1))
    else:
        assert retry_after <= wait <= retry_after + 1.0


def test_a_date_to_wait_for_is_read_on_the_servers_own_clock() -> None:
    then = {"retry-after": "Thu, 01 Jan 1998 00:00:07 GMT", "date": "Thu, 01 Jan 1998 00:00:00 GMT"}
    assert read_retry_after(then) == 7.0
    assert read_retry_after({"retry-after": then["retry-after"]}) is None
    assert read_retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25


@pytest.mark.parametrize(
    ("status", "body", "is_retried", "is_fatal"),
    [
        (408, {}, True, False),
        (409, {}, True, False),
        (429, {}, True, False),
        (429, {"error": {"code": "insufficient_quota", "message": "pay"}}, False, True),
        (500, {}, True, False),
        (503, {}, True, False),
        (400, {}, False, False),
        (401, {}, False, True),
        (404, {}, False, True),
    ],
)
def test_which_answers_of_a_server_are_worth_another_try(status, body, is_retried, is_fatal) -> None:
    client = openai.OpenAI(api_key="k", base_url="http://teacher.example/v1", max_retries=0)
    response = httpx2.Response(status, json=body, request=httpx2.Request("POST", "http://teacher.example/v1"))
    trouble = read_trouble(client._make_status_error_from_response(response), "k")
    assert (trouble.is_retried, trouble.is_fatal) == (is_retried, is_fatal)
    assert trouble.is_refusal == (status == 429 and not is_fatal)
