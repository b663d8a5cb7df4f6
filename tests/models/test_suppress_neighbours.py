import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ops.suppress_neighbours import suppress_neighbours


def test_the_weaker_of_two_marks_inside_one_nodule_goes() -> None:
    centers = np.array([[0, 0, 0], [3, 0, 0], [30, 0, 0]], float)
    kept = suppress_neighbours(centers, np.array([10.0, 4.0, 5.0]), np.array([0.6, 0.9, 0.2]))
    assert kept.tolist() == [1, 2]


def test_nothing_in_nothing_out() -> None:
    assert len(suppress_neighbours(np.zeros((0, 3)), np.zeros(0), np.zeros(0))) == 0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_what_remains_is_apart_sorted_and_holds_the_best(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    centers, sizes, scores = rng.uniform(0, 50, (count, 3)), rng.uniform(4, 20, count), rng.random(count)
    kept = suppress_neighbours(centers, sizes, scores)
    assert kept[0] == np.argmax(scores)
    assert (np.diff(scores[kept]) <= 0).all()
    for a in range(len(kept)):
        for b in range(a):
            distance = np.linalg.norm(centers[kept[a]] - centers[kept[b]])
            assert distance >= max(sizes[kept[a]], sizes[kept[b]]) / 2
