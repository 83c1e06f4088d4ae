"""The soak judges memory by its trend: steady growth is seen through swings and single steps."""

import pytest

from benchmarks.soak import Sample, memory_of

MB = 1_000_000


def sampled(memory_bytes: list[float]) -> list[Sample]:
    return [
        Sample(asked=1000 * n, cpu_s=0.0, memory_bytes=int(each), files=9, threads=9)
        for n, each in enumerate(memory_bytes)
    ]


@pytest.mark.parametrize("kb_per_thousand", [0.0, 2.0, 5.0])
def test_steady_growth_is_found_under_peaks_that_come_and_go(kb_per_thousand: float) -> None:
    found = memory_of(
        sampled([150 * MB + 1000 * kb_per_thousand * n + 30 * MB * (n % 7 == 0) for n in range(1000)])
    )
    assert found.kb_per_thousand == pytest.approx(kb_per_thousand, abs=0.01)


def test_what_grows_before_half_of_the_requests_is_warm_up() -> None:
    found = memory_of(sampled([100 * MB + MB * min(n, 400) for n in range(1000)]))
    assert found.kb_per_thousand == 0


def test_memory_that_every_reload_keeps_is_growth() -> None:
    found = memory_of(sampled([100 * MB + 2 * MB * (n // 111) for n in range(1000)]))
    assert found.kb_per_thousand > 10
