from inference.circuit import Circuit, CircuitBreaker, RetryBudget


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(clock, failures_max=2, pause_s=30.0)
    for opens in (False, True):
        assert breaker.allows()
        assert breaker.failed() is opens
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_starts_the_count_anew() -> None:
    breaker = CircuitBreaker(Clock(), failures_max=2)
    for _ in range(5):
        breaker.failed()
        assert not breaker.succeeded()
    assert breaker.state is Circuit.CLOSED
    breaker.failed()
    assert breaker.failed()
    assert breaker.state is Circuit.OPEN
    assert not breaker.allows()


def test_after_the_pause_one_run_may_try_and_its_success_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now_s += 29.9
    assert not breaker.allows()
    clock.now_s += 0.1
    assert breaker.state is Circuit.HALF_OPEN
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    assert breaker.succeeded()
    assert breaker.state is Circuit.CLOSED
    assert breaker.allows()


def test_when_the_try_fails_the_pause_begins_anew() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now_s += 30
    assert breaker.allows()
    assert breaker.failed()
    clock.now_s += 29
    assert breaker.state is Circuit.OPEN
    clock.now_s += 1
    assert breaker.allows()


def test_runs_that_began_before_it_opened_do_not_lengthen_the_pause() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now_s += 20
    assert not breaker.failed()
    clock.now_s += 10
    assert breaker.state is Circuit.HALF_OPEN


def test_retries_dry_up_when_nothing_succeeds_and_come_back_with_success() -> None:
    budget = RetryBudget(retries_max=3, share=0.5)
    assert [budget.take() for _ in range(5)] == [True, True, True, False, False]
    budget.earn()
    assert not budget.take()
    budget.earn()
    assert budget.take()
    for _ in range(100):
        budget.earn()
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
