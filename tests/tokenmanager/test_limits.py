"""Rates: never more than was promised, in any window; bounded memory; and a clock that goes wrong harms nobody."""

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from gatehouse.registry.errors import Problem
from gatehouse.registry.settings import LimitSettings
from gatehouse.tokenmanager.limits import LIMITS, Bucket, Limits
from tests.clock import HandClock

# sixteenths of a second and rates that divide a minute evenly: then sums of floats are exact
PAUSES: SearchStrategy[float] = st.integers(0, 400).map(lambda parts: parts / 16)
RATES = st.sampled_from([1, 6, 15, 60, 120, 960])
BURSTS = st.integers(1, 8)


@composite
def calls(draw: DrawFn, callers: int = 3) -> list[tuple[str, float]]:
    """Who calls when, in order."""
    now, made = draw(st.integers(0, 10**6)) / 1.0, []
    for pause in draw(st.lists(PAUSES, max_size=80)):
        now += pause
        made.append((f"caller {draw(st.integers(1, callers))}", now))
    return made


def admitted(bucket: Bucket, made: list[tuple[str, float]]) -> dict[str, list[float]]:
    """When each caller was let through."""
    through: dict[str, list[float]] = {}
    for who, now in made:
        if bucket.wait(who, now) == 0.0:
            through.setdefault(who, []).append(now)
    return through


@given(RATES, BURSTS, calls(), st.integers(0, 3))
def test_in_no_window_more_than_burst_and_rate(
    rate: int, burst: int, made: list[tuple[str, float]], most: int
) -> None:
    """Also when there are more callers than the bucket can know, who then share one share."""
    for times in admitted(Bucket(rate, burst, most or 20_000), made).values():
        for first, began in enumerate(times):
            for last in range(first, len(times)):
                assert last - first + 1 <= burst + floor((times[last] - began) * rate / 60)


@given(RATES, BURSTS, calls(callers=1))
def test_nobody_is_refused_who_stays_within_the_rate(
    rate: int, burst: int, made: list[tuple[str, float]]
) -> None:
    """Against the plain token bucket: what it admits is admitted, what it refuses is refused."""
    bucket, tokens, before = Bucket(rate, burst), Fraction(burst), 0.0
    for who, now in made:
        tokens = min(Fraction(burst), tokens + Fraction(now - before) * rate / 60)
        before = now
        fits = tokens >= 1
        assert (bucket.wait(who, now) == 0.0) == fits
        tokens -= fits


@given(RATES, BURSTS, calls())
def test_who_waits_as_told_is_let_through(rate: int, burst: int, made: list[tuple[str, float]]) -> None:
    bucket = Bucket(rate, burst)
    for who, now in made:
        seconds = bucket.wait(who, now)
        if seconds:
            assert bucket.wait(who, now + seconds) == 0.0
            return


@given(RATES, BURSTS)
def test_callers_do_not_take_from_each_other(rate: int, burst: int) -> None:
    bucket = Bucket(rate, burst)
    assert [bucket.wait("greedy", 5.0) > 0 for _ in range(burst + 1)] == [False] * burst + [True]
    assert bucket.wait("modest", 5.0) == 0.0


def test_memory_is_bounded_and_the_gate_stays_shut_when_it_is_full() -> None:
    bucket = Bucket(60, 10, most=100)
    through = sum(bucket.wait(f"stranger {number}", 5.0) == 0.0 for number in range(50_000))
    assert through == 100 + 10  # those it knows, and one share for all the others
    assert bucket.wait("stranger 7", 5.0) == 0.0  # who was known before keeps the own share
    for second in range(100):
        for number in range(1000):
            bucket.wait(f"stranger {second} {number}", 6.0 + second)
    assert len(bucket) <= 2 * 101


def test_who_falls_out_of_a_full_bucket_gets_no_new_share() -> None:
    bucket = Bucket(60, 10, most=2)
    bucket.wait("first", 0.0)
    assert sum(bucket.wait("eager", 9.0) == 0.0 for _ in range(20)) == 10
    for who in ("second", "third"):
        bucket.wait(who, 10.0)
    assert sum(bucket.wait("eager", 10.0) == 0.0 for _ in range(20)) == 1


def test_who_was_away_is_forgotten() -> None:
    bucket = Bucket(60, 10)
    for number in range(1000):
        bucket.wait(f"caller {number}", 0.0)
    for later in (10.0, 20.0, 30.0):
        bucket.wait("somebody", later)
    assert len(bucket) <= 2


@given(RATES, BURSTS)
def test_a_clock_that_goes_back_neither_opens_nor_locks(rate: int, burst: int) -> None:
    """Ten minutes back: no new share for whoever has used it up, and no longer wait than for one call."""
    bucket = Bucket(rate, burst)
    now = 1e6
    assert [bucket.wait("eager", now) > 0 for _ in range(burst + 1)] == [False] * burst + [True]
    back = now - 600
    seconds = bucket.wait("eager", back)
    assert 0 < seconds <= 60 / rate  # not open, and not locked for ten minutes
    assert bucket.wait("eager", back + 60 / rate) == 0.0
    assert bucket.wait("eager", back + 60 / rate) > 0
    assert bucket.wait("new", back) == 0.0


def limits(clock: HandClock, **rates: int) -> Limits:
    """Limits with some rates of one's own."""
    return Limits(LimitSettings(**rates), clock)


def test_every_class_has_a_rate_and_every_rate_a_class() -> None:
    assert {f"{name}{end}" for name in LIMITS for end in ("", "_burst")} == set(LimitSettings.model_fields)


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_each_class_counts_for_itself(clock: HandClock, name: str) -> None:
    made = limits(clock, **{name: 6, f"{name}_burst": 2})
    made.take(name, "a")
    made.take(name, "a")
    with pytest.raises(Problem) as caught:
        made.take(name, "a")
    problem = caught.value
    assert (problem.status, problem.code) == (429, "slow_down")
    assert problem.facts == {"limit_class": name, "retry_after": 10}
    assert problem.hint == "Try again in 10 seconds."
    for other in LIMITS - {name}:
        made.take(other, "a")
    made.take(name, "b")
    clock.pass_by(9)
    with pytest.raises(Problem) as caught:
        made.take(name, "a")
    assert caught.value.facts["retry_after"] == 1
    clock.pass_by(1)
    made.take(name, "a")


def test_a_class_that_does_not_exist_lets_nobody_in(clock: HandClock) -> None:
    with pytest.raises(KeyError):
        limits(clock).take("wrok", "a")
