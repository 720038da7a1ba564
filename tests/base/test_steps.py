"""What takes long before the first result is told while it lasts, in the thread that listens, and nowhere else."""

from __future__ import annotations

import threading

import pytest

from lalora_kit.base import steps
from lalora_kit.base.steps import step, telling


class Clock:
    """Seconds that pass when a test says so; timers of the same clock."""

    def __init__(self, monkeypatch):
        self.now, self.timers = 0.0, []
        monkeypatch.setattr(steps, "LONG", 1.0)
        monkeypatch.setattr(steps.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(steps.threading, "Timer", self.timer)

    def timer(self, after, say, words):
        made = threading.Thread()  # for `daemon` and `start`; it does nothing
        made.run, made.cancel = lambda: None, lambda: self.timers.remove(entry)
        entry = (self.now + after, lambda: say(*words))
        self.timers.append(entry)
        return made

    def passes(self, seconds):
        self.now += seconds
        for due, ring in self.timers:
            if self.now - seconds < due <= self.now:
                ring()


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_a_long_step_is_told_while_it_lasts_and_with_its_seconds_after(clock):
    said = []
    with telling(said.append), step("loading torch"):
        clock.passes(0.9)
        assert said == []
        clock.passes(0.2)
        assert said == ["loading torch ..."]
        clock.passes(2.1)
    assert said == ["loading torch ...", "loading torch: 3.2 s"]


def test_a_quick_step_is_not_told(clock):
    said = []
    with telling(said.append), step("a trifle"):
        clock.passes(0.9)
    clock.passes(5)
    assert said == []


def test_a_function_is_a_step_at_each_call_and_gives_what_it_gave(clock):
    said = []

    @step("thinking")
    def thought(value):
        """Its own words."""
        clock.passes(2)
        return value + 1

    with telling(said.append):
        assert thought(1) == 2 and thought(2) == 3
    assert said == ["thinking ...", "thinking: 2.0 s"] * 2
    assert thought(3) == 4 and len(said) == 4, "nobody listens any more"
    assert thought.__doc__ == "Its own words."


def test_a_step_that_fails_is_not_told_as_done(clock):
    said = []
    with pytest.raises(ValueError, match="bad"), telling(said.append), step("trying"):
        clock.passes(3)
        raise ValueError("bad")
    assert said == ["trying ..."] and not clock.timers


def test_another_thread_does_not_speak_to_this_ones_listener(clock):
    said = []

    def work():
        with step("elsewhere"):
            clock.passes(2)

    with telling(said.append):
        other = threading.Thread(target=work)
        other.start()
        other.join()
    assert said == []


def test_a_real_timer_speaks_while_the_step_still_runs(monkeypatch):
    monkeypatch.setattr(steps, "LONG", 0.01)
    said, heard = [], threading.Event()

    def say(line):
        said.append(line)
        heard.set()

    with telling(say), step("waiting to be heard"):
        assert heard.wait(60)
    assert said[0] == "waiting to be heard ..." and said[1].startswith("waiting to be heard: ")
