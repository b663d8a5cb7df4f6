import threading
import time
from typing import Any

import pytest

from inference.errors import ModelTooLarge
from inference.pool import SessionPool


class Opener:
    """Opens sessions that are their own names, and counts."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def use(self, pool: SessionPool, key: str, size: int = 40) -> None:
        with pool.lease(key, size, lambda: self.open(key)) as session:
            assert session == key

    def open(self, key: str) -> str:
        self.opened.append(key)
        return key


def test_a_session_stays_open_for_the_next_run() -> None:
    pool, opener = SessionPool(100), Opener()
    for _ in range(3):
        opener.use(pool, "a")
    assert opener.opened == ["a"]


def test_what_was_used_least_recently_is_closed_when_memory_runs_short() -> None:
    pool, opener = SessionPool(100), Opener()
    for key in ("a", "b", "a", "c"):
        opener.use(pool, key)
    assert pool.keys == ("a", "c")
    opener.use(pool, "b")
    assert opener.opened == ["a", "b", "c", "b"]


def test_a_large_model_makes_room_for_itself_and_one_that_never_fits_is_refused() -> None:
    pool, opener = SessionPool(100), Opener()
    for key in ("a", "b"):
        opener.use(pool, key)
    opener.use(pool, "large", 100)
    assert pool.keys == ("large",)
    with pytest.raises(ModelTooLarge, match="RADMETER_INFERENCE_MEMORY_MIB"):
        opener.use(pool, "larger", 101)


def test_what_is_in_use_is_never_closed_and_who_needs_its_room_waits() -> None:
    pool, opener = SessionPool(50), Opener()
    waited = threading.Thread(target=lambda: opener.use(pool, "b"))
    with pool.lease("a", 40, lambda: opener.open("a")):
        waited.start()
        time.sleep(0.05)
        assert pool.keys == ("a",)
    waited.join(5)
    assert pool.keys == ("b",)


def test_two_who_need_the_same_model_open_it_once() -> None:
    pool, opener = SessionPool(100), Opener()
    may_end = threading.Event()

    def slow() -> str:
        may_end.wait(5)
        return opener.open("a")

    def use() -> None:
        with pool.lease("a", 40, slow):
            pass

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    may_end.set()
    for thread in threads:
        thread.join(5)
    assert opener.opened == ["a"]


def test_opening_one_model_does_not_hold_up_another() -> None:
    pool, opener = SessionPool(100), Opener()
    opener.use(pool, "b")

    def while_a_opens() -> str:
        opener.use(pool, "b")
        return "a"

    with pool.lease("a", 40, while_a_opens):
        pass


def test_a_model_that_cannot_be_opened_takes_no_room_and_may_be_tried_again() -> None:
    pool, opener = SessionPool(50), Opener()

    def fails() -> Any:
        raise ValueError("no graph")

    for _ in range(2):
        with pytest.raises(ValueError, match="no graph"), pool.lease("a", 40, fails):
            pass
    opener.use(pool, "b")
    opener.use(pool, "a")
    assert pool.keys == ("a",)


def test_a_run_that_fails_gives_its_session_back() -> None:
    pool, opener = SessionPool(50), Opener()
    with pytest.raises(RuntimeError), pool.lease("a", 40, lambda: "a"):
        raise RuntimeError
    opener.use(pool, "b")
    assert pool.keys == ("b",)


def test_a_session_rests_once_when_another_model_runs_and_never_while_it_is_used() -> None:
    pool, rested = SessionPool(100), list[str]()

    def use(key: str) -> None:
        with pool.lease(key, 40, lambda: key, rested.append):
            pass

    use("a")
    use("a")
    assert rested == []
    with pool.lease("a", 40, lambda: "a", rested.append):
        use("b")
        assert rested == []
    use("b")
    use("b")
    assert rested == ["a"]
    use("a")
    assert rested == ["a", "b"]
