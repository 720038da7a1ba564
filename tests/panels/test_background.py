"""The runner and the pause: restart, stop, failure, and nothing left of an older run."""

import threading
import time

from lalora_kit.panels.background import Debounce, Runner


class Gathered:
    """What a runner handed over."""

    def __init__(self, flush=0.0):
        self.lock, self.items, self.ends = threading.RLock(), [], []
        self.runner = Runner(self.lock, self.items.extend, lambda run, error: self.ends.append((run, error)), flush)


def counting(values, gate=None, closed=None):
    def work():
        try:
            for value in values:
                if gate is not None:
                    assert gate.acquire(timeout=20)
                yield value
        finally:
            if closed is not None:
                closed.append(values)

    return work


def test_a_run_hands_over_all_its_items_in_order():
    gathered = Gathered(flush=0.01)
    run = gathered.runner.start(counting(range(100)))
    assert gathered.runner.join(20)
    assert gathered.items == list(range(100)) and gathered.ends == [(run, None)]


def test_a_restart_drops_the_older_run_at_its_next_item_and_closes_it():
    gathered, gate, closed = Gathered(), threading.Semaphore(0), []
    gathered.runner.start(counting("abc", gate, closed))
    second = gathered.runner.start(counting("xyz"))
    gate.release()
    assert gathered.runner.join(20)
    assert gathered.items == list("xyz") and closed == ["abc"] and gathered.ends == [(second, None)]


def test_stop_takes_no_further_item():
    gathered, gate, closed = Gathered(), threading.Semaphore(0), []
    gathered.runner.start(counting("abc", gate, closed))
    gathered.runner.stop()
    gate.release()
    assert gathered.runner.join(20)
    assert gathered.items == [] and closed == ["abc"] and len(gathered.ends) == 1


def test_a_failure_reaches_the_caller():
    def work():
        yield 1
        raise ValueError("no such rank")

    gathered = Gathered()
    gathered.runner.start(work)
    assert gathered.runner.join(20)
    assert str(gathered.ends[0][1]) == "no such rank"


def test_many_restarts_leave_only_the_last_runs_items():
    gathered = Gathered()
    for values in range(50):
        gathered.runner.start(counting([values] * 3))
    assert gathered.runner.join(20)
    assert gathered.items[-3:] == [49] * 3
    assert gathered.items == sorted(gathered.items), "an item of a stale run landed after a restart"


def test_debounce_calls_once_after_a_burst():
    called = threading.Event()
    calls = []
    debounce = Debounce(0.05, lambda: (calls.append(1), called.set()), threading.RLock())
    for _ in range(20):
        debounce()
    assert called.wait(20)
    time.sleep(0.15)
    assert len(calls) == 1


def test_debounce_can_be_cancelled():
    calls = []
    debounce = Debounce(0.05, lambda: calls.append(1), threading.RLock())
    debounce()
    debounce.cancel()
    time.sleep(0.15)
    assert not calls


def test_an_item_does_not_wait_for_the_next_one():
    gathered, gate = Gathered(flush=0.05), threading.Semaphore(2)
    gathered.runner.start(counting("abc", gate))
    end = time.perf_counter() + 20
    while gathered.items != ["a", "b"]:
        assert time.perf_counter() < end, "the second item was held back"
        time.sleep(0.01)
    gate.release()
    assert gathered.runner.join(20) and gathered.items == list("abc")
