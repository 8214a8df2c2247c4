"""The determinism certificate of the smoke preset: made, and true of what it says."""

from __future__ import annotations

from clones import SMOKE, Clone

from matinee.determinism import read_determinism


def test_stages_that_are_run_again_leave_the_same(finished: Clone) -> None:
    target = "results/determinism.json"
    overlay = finished.overlay("certified.yaml", {"evaluation": {"determinism_cases": 3}})
    run = finished.snakemake("--configfile", *SMOKE, str(overlay), "--", target)
    assert run.returncode == 0, run.stderr[-3000:]
    record = read_determinism(finished.folder / target)
    assert record is not None
    played, trained = record.checks
    assert played.stage == "run_scenarios"
    assert played.compared == 3
    assert [again.settings for again in played.repeats] == [
        {"run": 2},
        {"batch_size": 1},
        {"batch_size": 3},
        {"parts": 2},
        {"threads": 1},
    ]
    assert played.repeats[0].equal_bytes == 3
    assert trained.compared == 28  # two matrices for each of 14 layers
    again, one_thread = trained.repeats
    assert again.equal_bytes == 28
    assert one_thread.equal_bytes == 28 - len(one_thread.differing)


def test_it_is_part_of_the_run_where_the_configuration_asks_for_it(finished: Clone) -> None:
    (finished.folder / "results/determinism.json").unlink(missing_ok=True)
    assert "check_determinism" not in finished.planned()
    overlay = finished.overlay("certified.yaml", {"evaluation": {"determinism_cases": 3}})
    assert {"check_determinism", "render_report"} <= finished.planned(overlay)
