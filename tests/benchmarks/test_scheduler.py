from pathlib import Path

import pytest

from benchmarks.scheduler import CLIENTS, at_rate, in_line, measure_all, report, small_checkpoint
from service.contract.errors import Overloaded


async def test_clients_in_line_ask_again_when_they_are_answered() -> None:
    asked = 0

    async def ask() -> None:
        nonlocal asked
        asked += 1

    taken = await in_line(ask, 0.02, clients=3)
    assert len(taken) == asked >= 3


async def test_at_a_rate_everything_is_asked_and_the_refused_are_no_answers() -> None:
    asked = 0

    async def ask() -> None:
        nonlocal asked
        asked += 1
        if asked % 2:
            raise Overloaded("full", retry_after_s=1.0)

    taken = await at_rate(ask, 0.05, rate=2000)
    assert (asked, len(taken)) == (100, 50)


async def test_every_way_of_asking_is_measured_and_told(tmp_path: Path) -> None:
    description, rows = await measure_all(small_checkpoint(tmp_path), seconds=0.1)
    assert len(rows) == len(CLIENTS) + 1
    assert all(row.per_second > 0 and row.processor_us > 0 and 0 < row.busy <= 1 for row in rows)
    assert rows[0].mean_batch == pytest.approx(1.0)
    text = report(description, rows, 0.1, 0.0)
    assert "simulated, 0.44 ms a batch and 17.7 us an image" in text
    assert "| 64 clients in line |" in text
