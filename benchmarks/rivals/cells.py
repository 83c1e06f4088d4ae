"""What is measured: the cells of the comparison, and what became of each."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rivals.contenders import NAMES, RIVALS


@dataclass(frozen=True, kw_only=True, order=True)
class Cell:
    """One server, one engine, one kind of request, so many at a time."""

    server: str
    arm: str
    payload: str
    format: str
    concurrency: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One cell in one round."""

    cell: Cell
    round: int
    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    seconds: float
    answers: int
    failures: int
    """Answers with another status than 200, and connections lost within one."""
    checked: int
    """Answers compared with the Predictor's, those of the warm-up included."""
    wrong: int
    mean_error: float
    """The largest of any answer's mean relative errors."""
    tail_error: float
    server_cpu_s: float
    client_cpu_s: float
    others_cpu_s: float
    """Processor time that neither the server nor the client used."""
    memory_bytes: int
    processes: int
    at: str
    workers: int = 0
    """Of a rival."""
    latencies: dict[str, int] = field(default_factory=dict)
    """How many answers took how long, by `latency_step`."""

    def others_share(self, cores: int) -> float:
        """Return the share of the cores' time that neither the server nor the client had."""
        return self.others_cpu_s / self.seconds / cores

    def to_json(self) -> str:
        """Return one line."""
        return json.dumps({"outcome": asdict(self)})

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Outcome":
        """Read what `to_json` wrote."""
        return cls(**{**told, "cell": Cell(**told["cell"])})


_STEP = math.log(1.01)


def latency_step(latency_ms: float) -> str:
    """Return the step of a logarithmic scale on which a latency lies, each 1 % above the one before."""
    return str(round(math.log(max(latency_ms, 1e-3)) / _STEP))


def latency_of(step: str) -> float:
    """Return the latency of a step, in ms."""
    return math.exp(int(step) * _STEP)


CONCURRENCIES = (1, 4, 16, 64)
BUSY = 0.05
"""More of the cores than this in other hands, and a cell is measured again, or its figure is marked."""


def plan(servers: Sequence[str] = NAMES) -> Iterator[Cell]:
    """Yield every cell of the full comparison."""
    for server in servers:
        for payload in ("mixed", "375x1242", "1080p"):
            for concurrency in CONCURRENCIES:
                yield Cell(
                    server=server, arm="openvino", payload=payload, format="png16", concurrency=concurrency
                )
                if payload == "mixed" or concurrency == 16:
                    yield Cell(
                        server=server, arm="eager", payload=payload, format="png16", concurrency=concurrency
                    )
        for concurrency in (1, 16):
            yield Cell(
                server=server, arm="openvino", payload="mixed", format="float32", concurrency=concurrency
            )
        if server in RIVALS:
            for concurrency in CONCURRENCIES:
                yield Cell(
                    server=server, arm="shared", payload="mixed", format="png16", concurrency=concurrency
                )


def quick_plan(servers: Sequence[str] = NAMES) -> Iterator[Cell]:
    """Yield the few cells that show that everything works, and roughly how fast."""
    for server in servers:
        for arm in ("openvino", "eager", *(("shared",) if server in RIVALS else ())):
            for concurrency in (1, 16):
                yield Cell(server=server, arm=arm, payload="mixed", format="png16", concurrency=concurrency)
        yield Cell(server=server, arm="openvino", payload="mixed", format="float32", concurrency=16)


def read_outcomes(path: Path) -> list[Outcome]:
    """Return what was measured: of each cell and round what others disturbed least, the last of equals."""
    found: dict[tuple[Cell, int], Outcome] = {}
    for told in _lines(path):
        if "outcome" in told:
            outcome = Outcome.from_json(told["outcome"])
            before = found.get((outcome.cell, outcome.round))
            if before is None or outcome.others_share(1) <= before.others_share(1):
                found[outcome.cell, outcome.round] = outcome
    return list(found.values())


def undisturbed(outcomes: Iterable[Outcome], round_: int, cores: int) -> set[Cell]:
    """Return the cells of a round that need not be measured again."""
    return {each.cell for each in outcomes if each.round == round_ and each.others_share(cores) <= BUSY}


def read_last(path: Path, kind: str) -> dict[str, Any]:
    """Return the last record of another kind (`setting`); empty where there is none."""
    found: dict[str, Any] = {}
    for told in _lines(path):
        found = told.get(kind, found)
    return found


def read_in_process(path: Path) -> list[dict[str, Any]]:
    """Return what the in-process pipeline did, in each round by payload and format."""
    return [told["in_process"] for told in _lines(path) if "in_process" in told]


def read_sweeps(path: Path) -> dict[tuple[str, str], dict[int, float]]:
    """Return how many answers a second each rival gave with so many workers, by rival and engine."""
    found: dict[tuple[str, str], dict[int, list[float]]] = {}
    for told in _lines(path):
        if "sweep" in told:
            one = told["sweep"]
            rates = found.setdefault((one["server"], one["arm"]), {})
            rates.setdefault(one["workers"], []).append(one["per_second"])
    return {who: {count: median(each) for count, each in rates.items()} for who, rates in found.items()}


def append(path: Path, line: str) -> None:
    """Add one record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(line + "\n")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for line in path.read_text().splitlines():
            yield json.loads(line)
