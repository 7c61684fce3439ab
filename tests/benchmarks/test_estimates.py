import random

from benchmarks.estimates import RUNS, Run, covered, last_at_size, last_values, means_so_far, rows_of, shuffled, within


def a_run(measured_s: float, *, size: int = 0, predicted_s: float = 1.0) -> Run:
    return Run(size, predicted_s, 0.8 * predicted_s, 1.5 * predicted_s, measured_s)


def test_the_predictors_know_only_what_came_before() -> None:
    runs = [a_run(1.0, size=0), a_run(5.0, size=1), a_run(3.0, size=0)]

    assert last_values(runs) == [None, 1.0, 5.0]
    assert means_so_far(runs) == [None, 1.0, 3.0]
    assert last_at_size(runs) == [None, 1.0, 1.0]


def test_only_the_last_ten_count_and_the_bounds_belong_to_the_tolerance() -> None:
    runs = [a_run(100.0)] * 20 + [a_run(1.2), a_run(0.8), a_run(1.21), a_run(0.79)] + [a_run(1.0)] * 6

    assert within([r.predicted_s for r in runs], runs) == 80.0


def test_a_run_is_covered_when_the_interval_holds_it() -> None:
    assert covered([a_run(0.8), a_run(1.5), a_run(0.79), a_run(1.51)]) == 50.0


def test_every_size_comes_equally_often() -> None:
    order = shuffled(5, random.Random(1))

    assert len(order) == RUNS
    assert [order.count(size) for size in range(5)] == [6] * 5


def test_each_workload_stands_beside_each_predictor() -> None:
    steady = [a_run(1.0)] * RUNS
    growing = [a_run(1.5**number) for number in range(RUNS)]

    rows = {(row["metric"], row["peer_name"]): row for row in rows_of({"steady": steady, "growing": growing})}

    first = rows["steady: last 10 within ±20 %", "mean so far"]
    assert (first["ours"], first["peer"], first["met"]) == (100.0, 100.0, True)
    second = rows["growing: last 10 within ±20 %", "last duration"]
    assert (second["ours"], second["peer"], second["met"]) == (0.0, 0.0, False)
    assert rows["all: last 10 within ±20 %", "mean so far"]["ours"] == 50.0
    assert rows["all: last 10 inside the 80 % interval", None]["ours"] == 50.0
