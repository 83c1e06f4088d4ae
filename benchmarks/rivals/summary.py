"""What the rounds of each cell come to: medians, spreads, and how ours stands to the others."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.rivals.cells import BUSY, Cell, Outcome, latency_of
from benchmarks.rivals.contenders import RIVALS

ENOUGH = 1000
"""Answers, for a 99th percentile to stand on ten of them."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A median over rounds, and what lies furthest from it on each side."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One cell, over its rounds."""

    rounds: int
    per_second: Spread
    p50_ms: Spread
    p99_ms: float | None
    """Of the answers of all rounds together; None where they are fewer than a thousand."""
    cpu_ms: float
    """Processor time of the server's processes for each answer."""
    client_ms: float
    """Likewise of the client."""
    memory_bytes: float
    processes: int
    others: float
    """The largest share of the cores' time that somebody else took in any of these rounds."""


@dataclass(frozen=True, kw_only=True)
class Duel:
    """Ours beside the best rival in one cell."""

    cell: Cell
    ours: float
    rival: str
    theirs: float
    cpu_ms: float
    """Processor time of an answer of ours, and of theirs."""
    their_cpu_ms: float
    disturbed: bool
    """Whether every round of ours or of theirs was."""

    @property
    def ratio(self) -> float:
        """Ours to theirs."""
        return self.ours / self.theirs


Summaries = Mapping[Cell, Summary]


def summarise(outcomes: Iterable[Outcome], cores: int) -> dict[Cell, Summary]:
    """Summarise each cell, by the rounds that nobody disturbed where there are any."""
    rounds: dict[Cell, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.answers:
            rounds[outcome.cell].append(outcome)
    quiet = {
        cell: [outcome for outcome in each if outcome.others_share(cores) <= BUSY]
        for cell, each in rounds.items()
    }
    return {cell: _summary(quiet[cell] or each, cores) for cell, each in rounds.items()}


def spread(values: Iterable[float]) -> Spread:
    """Return the median of values, the lowest and the highest."""
    known = sorted(values)
    return Spread(median=median(known), lowest=known[0], highest=known[-1])


def best_rival(summaries: Summaries, cell: Cell, *, lowest_latency: bool = False) -> tuple[str, float] | None:
    """Return the rival with the most answers a second, or with the lowest median latency, in one cell."""
    there = {
        name: summaries[replace(cell, server=name)]
        for name in RIVALS
        if replace(cell, server=name) in summaries
    }
    if not there:
        return None
    if lowest_latency:
        name = min(there, key=lambda each: there[each].p50_ms.median)
        return name, there[name].p50_ms.median
    name = max(there, key=lambda each: there[each].per_second.median)
    return name, there[name].per_second.median


def duels(
    summaries: Summaries, arm: str, *, ours_arm: str = "openvino", lowest_latency: bool = False
) -> list[Duel]:
    """Return ours beside the best rival, in every cell of an engine that both have."""
    found = []
    for cell in sorted(summaries):
        if cell.server != "ours" or cell.arm != ours_arm:
            continue
        best = best_rival(summaries, replace(cell, arm=arm), lowest_latency=lowest_latency)
        if best is not None:
            mine = summaries[cell]
            value = mine.p50_ms.median if lowest_latency else mine.per_second.median
            other = summaries[replace(cell, arm=arm, server=best[0])]
            found.append(
                Duel(
                    cell=cell,
                    ours=value,
                    rival=best[0],
                    theirs=best[1],
                    cpu_ms=mine.cpu_ms,
                    their_cpu_ms=other.cpu_ms,
                    disturbed=max(mine.others, other.others) > BUSY,
                )
            )
    return found


def _p99(rounds: list[Outcome]) -> float | None:
    counts: Counter[str] = Counter()
    for each in rounds:
        counts.update(each.latencies)
    left = counts.total() // 100
    if counts.total() < ENOUGH:
        return None
    for step in sorted(counts, key=int, reverse=True):
        left -= counts[step]
        if left < 0:
            return latency_of(step)
    return None


def _summary(rounds: list[Outcome], cores: int) -> Summary:
    return Summary(
        rounds=len(rounds),
        per_second=spread(each.per_second for each in rounds),
        p50_ms=spread(each.p50_ms for each in rounds),
        p99_ms=_p99(rounds),
        cpu_ms=median(each.server_cpu_s / each.answers for each in rounds) * 1e3,
        client_ms=median(each.client_cpu_s / each.answers for each in rounds) * 1e3,
        memory_bytes=median(each.memory_bytes for each in rounds),
        processes=max(each.processes for each in rounds),
        others=max(each.others_share(cores) for each in rounds),
    )
