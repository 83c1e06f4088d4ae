"""The report of the comparison: what it comes to, every cell, and how it was measured.

It measures nothing, and computes no more than `summary` does.
"""

import datetime
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.rivals.answers import MEAN_ERROR, TAIL_ERROR
from benchmarks.rivals.cells import (
    BUSY,
    CONCURRENCIES,
    Cell,
    Outcome,
    read_in_process,
    read_last,
    read_outcomes,
    read_sweeps,
)
from benchmarks.rivals.contenders import NAMES, WORKERS
from benchmarks.rivals.in_process import InProcess, middle
from benchmarks.rivals.summary import ENOUGH, Duel, Spread, Summaries, duels, summarise

TITLES = {"ours": "ours", "litserve": "LitServe", "bentoml": "BentoML", "ray": "Ray Serve", "mosec": "mosec"}
TITLES["triton"] = "Triton"
ARM_TITLES = {
    "eager": "Torch eager inside everyone, in float32; each rival has OpenCV's codecs",
    "openvino": "Our OpenVINO network inside everyone, in {precision}; each rival has OpenCV's codecs",
    "shared": "Our OpenVINO network and our codecs inside everyone, in {precision}: only the server differs",
}
WANTED = {"same": 1.5, "any": 1.0, "lone": 1.0}
"""What is aimed at, as ratios; for `lone` the largest that will do, for the others the smallest."""
IN_PROCESS = """\
What the cores do where there is no server: each decodes, predicts (with one thread, in batches of the best
size) and encodes as our service does, all cores at once, and nothing else but the client, which runs on the
same cores and takes what it takes of ours; the last column is without it. Each round measures it just before
ours. It is a measure and no bound: all cores do the same at the same time in it, each process with the
network's weights for itself. A server whose cores share the weights, and do different things at once, may
come out above it."""
METHOD = f"""\
## How it was measured

- Everyone serves the student that ships, in turn and on the same cores; the client runs on them too.
- The photographs are drawn (the training's synthetic world, a seed of their own), JPEG at quality 90;
  mixed sizes are 1242x375, 1920x1080, 1280x720, 640x480 and 768x1024 in turn. The answer is depth at
  the photograph's own size, as 16-bit PNG with 256 steps a metre, or as raw float32.
- The client is `client.c`: compiled, one thread, keep-alive connections with one request in flight on
  each, `Accept-Encoding: identity`. It sends prepared bytes and hashes what comes back.
- Every answer counts only if it is right: each distinct body is decoded, must have the photograph's
  exact size, and may err from the Predictor (float32, torch) by {MEAN_ERROR:.0%} on average and by
  {TAIL_ERROR:.0%} in the 99th percentile.
- Every server is started anew for each round and warmed up; each cell is warmed up again until as many
  answers came as there are connections. Rounds begin with another server each. Figures are medians of
  the rounds, in brackets the lowest and the highest.
- A round in which other processes had more than {BUSY:.0%} of the cores does not count where there is one
  without; the next run of the command measures it again. A star says that there was none without.
  Processor time and memory (proportional set size) are those of all of a server's processes.
- A 99th percentile is of the answers of all rounds together, and is there from {ENOUGH:,} of them on.
- Rivals: `servers/with_*.py`, each tried with 1 to 4 workers (the cores divided among them as threads of
  their networks, one at least) and measured with its best; batches of up to 4, and the least waiting for a
  batch that they allow. No network is pinned to a processor. Ours: the default settings, and torch in
  float32 where everyone has torch."""

Pipelines = Mapping[str, InProcess]
"""By payload and format."""

MARK = re.compile(r"(<!-- rivals -->\n).*?(<!-- /rivals -->)", re.DOTALL)


def write_report(results: Path, report: Path, docs: Path | None = None) -> None:
    """Write what was measured; put its headline between the marks of another document, too."""
    outcomes = read_outcomes(results)
    setting, pipelines = read_last(results, "setting"), _pipelines(results)
    summaries = summarise(outcomes, int(setting["cores"]))
    precision = str(setting.get("precision", "its own precision"))
    headline = list(_headline(outcomes, summaries, pipelines, precision))
    sections = [
        _opening(outcomes, setting),
        iter(["## What it comes to", "", *headline]),
        *(_throughput(summaries, arm, precision) for arm in ARM_TITLES),
        _latency(summaries),
        _cost(summaries),
        _sweeps(results),
        _in_process_lines(summaries, pipelines),
        iter([METHOD]),
    ]
    report.write_text("\n".join(line for section in sections for line in [*section, ""]).rstrip() + "\n")
    if docs is not None:
        text = "\n".join([*_measured(outcomes, setting), "", *headline])
        docs.write_text(MARK.sub(lambda found: f"{found[1]}{text}\n{found[2]}", docs.read_text()))


def verdict(value: float, wanted: float, *, at_most: bool = False) -> str:
    """Say whether a target was met."""
    return "yes" if (value <= wanted if at_most else value >= wanted) else "**no**"


def _opening(outcomes: Sequence[Outcome], setting: Mapping[str, Any]) -> Iterator[str]:
    yield "# Ours beside other servers"
    yield ""
    yield "Written by `python -m benchmarks.rivals`; results.jsonl holds every single measurement."
    yield ""
    yield from _measured(outcomes, setting)
    yield ""
    yield "| server | versions |"
    yield "| --- | --- |"
    for name, versions in setting["versions"].items():
        yield (
            f"| {TITLES[name]} | "
            + ", ".join(f"{package} {version}" for package, version in versions.items())
            + " |"
        )


def _measured(outcomes: Sequence[Outcome], setting: Mapping[str, Any]) -> Iterator[str]:
    days = sorted({outcome.at[:10] for outcome in outcomes}) or [datetime.date.today().isoformat()]
    yield (
        f"Measured on {' and '.join(days)}, {setting['processor']}, {setting['cores']} cores, Linux "
        f"{setting['kernel']}, Python {setting['python']}, at commit {setting['commit']}."
    )


def _headline(
    outcomes: Sequence[Outcome], summaries: Summaries, pipelines: Pipelines, precision: str
) -> Iterator[str]:
    yield "| | precision | ours | best rival | ratio | aimed at | met | processor ms: ours, theirs |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    yield from _headline_of_rates(summaries, precision)
    yield from _headline_of_lone_requests(summaries, precision)
    yield from _headline_beside_no_server(summaries, pipelines, precision)
    yield ""
    if any(summary.others > BUSY for summary in summaries.values()):
        yield f"A star: other processes had more than {BUSY:.0%} of the cores while this was measured."
        yield ""
    yield _correctness(outcomes)


def _headline_of_rates(summaries: Summaries, precision: str) -> Iterator[str]:
    arms = {"eager": ("Torch eager", "float32"), "openvino": ("Same network", precision)}
    arms["shared"] = ("Same network and codecs", precision)
    for arm, (what, computed) in arms.items():
        found = duels(summaries, arm, ours_arm="eager" if arm == "eager" else "openvino")
        for duel in found:
            if _is(duel.cell, "mixed", 16, "png16"):
                wanted = WANTED["same" if arm == "openvino" else "any"]
                yield _duel_line(f"{what}, mixed sizes, 16 at a time, answers/s", duel, computed, wanted)
        if found:
            worst = min(found, key=lambda duel: duel.ratio)
            label = f"{what}, worst of all {len(found)} cells ({_where(worst.cell)})"
            yield _duel_line(label, worst, computed, WANTED["any"])
    for duel in duels(summaries, "eager"):
        if _is(duel.cell, "mixed", 16, "png16"):
            what = "Ours as it ships against torch eager, mixed, 16 at a time, answers/s"
            yield _duel_line(what, duel, f"{precision} against float32", None)


def _headline_of_lone_requests(summaries: Summaries, precision: str) -> Iterator[str]:
    for arm in ("openvino", "shared"):
        for duel in duels(summaries, arm, lowest_latency=True):
            if duel.cell.concurrency == 1 and duel.cell.format == "png16":
                alike = ", same codecs" if arm == "shared" else ""
                what = f"Lone request, {duel.cell.payload}, median ms{alike}"
                yield _duel_line(what, duel, precision, WANTED["lone"], at_most=True)


def _headline_beside_no_server(summaries: Summaries, pipelines: Pipelines, precision: str) -> Iterator[str]:
    for name, pipeline in pipelines.items():
        payload, wanted = name.split()
        cell = Cell(server="ours", arm="openvino", payload=payload, format=wanted, concurrency=16)
        if cell in summaries:
            ours = summaries[cell].per_second.median
            bare = pipeline.beside(summaries[cell].client_ms / 1e3)
            ratio = f"{ours / bare:.2f}{_star(summaries[cell].others > BUSY)}"
            what = f"Beside the in-process pipeline, {name}, 16 at a time"
            yield f"| {what} | {precision} | {ours:.1f} | {bare:.1f} (no server) | {ratio} | | | |"


def _correctness(outcomes: Sequence[Outcome]) -> str:
    checked, wrong = sum(each.checked for each in outcomes), sum(each.wrong for each in outcomes)
    failures = sum(each.failures for each in outcomes)
    mean = max((each.mean_error for each in outcomes), default=0.0)
    tail = max((each.tail_error for each in outcomes), default=0.0)
    return (
        f"{checked:,} answers were compared with the Predictor's, {wrong} of them were wrong, and {failures} "
        f"requests failed. The largest error of a right answer: {mean:.1%} on average over its pixels, "
        f"{tail:.1%} in the 99th percentile."
    )


def _duel_line(what: str, duel: Duel, precision: str, wanted: float | None, *, at_most: bool = False) -> str:
    met, aim = "", ""
    if wanted is not None:
        met = verdict(duel.ratio, wanted, at_most=at_most)
        aim = f"{'at most ' if at_most else ''}{wanted:g}"
    theirs = f"{duel.theirs:.1f} ({TITLES[duel.rival]})"
    ratio = f"{duel.ratio:.2f}{_star(duel.disturbed)}"
    costs = f"{duel.cpu_ms:.1f}, {duel.their_cpu_ms:.1f}"
    return f"| {what} | {precision} | {duel.ours:.1f} | {theirs} | {ratio} | {aim} | {met} | {costs} |"


def _star(disturbed: bool) -> str:
    return "*" if disturbed else ""


def _throughput(summaries: Summaries, arm: str, precision: str) -> Iterator[str]:
    yield f"## Answers a second: {ARM_TITLES[arm].format(precision=precision)}"
    for payload, wanted in sorted({(cell.payload, cell.format) for cell in summaries if cell.arm == arm}):
        yield ""
        yield f"{payload}, {wanted}:"
        yield ""
        yield from _table(summaries, arm, payload, wanted, lambda each: _shown(each.per_second))


def _latency(summaries: Summaries) -> Iterator[str]:
    yield "## Latency: median / 99th percentile, ms"
    for arm in ARM_TITLES:
        for payload in sorted(
            {cell.payload for cell in summaries if cell.arm == arm and cell.format == "png16"}
        ):
            yield ""
            yield f"{arm}, {payload}, png16:"
            yield ""
            yield from _table(
                summaries,
                arm,
                payload,
                "png16",
                lambda each: f"{each.p50_ms.median:.1f} / {_known(each.p99_ms)}",
            )


def _table(
    summaries: Summaries, arm: str, payload: str, wanted: str, shown: Callable[[Any], str]
) -> Iterator[str]:
    asked = [
        each
        for each in CONCURRENCIES
        if any(_is(cell, payload, each, wanted) and cell.arm == arm for cell in summaries)
    ]
    yield "| server | " + " | ".join(f"{each} at a time" for each in asked) + " |"
    yield "| --- " * (len(asked) + 1) + "|"
    for server in NAMES:
        cells = [
            # Ours has our codecs anyway.
            Cell(
                server=server,
                arm="openvino" if (server, arm) == ("ours", "shared") else arm,
                payload=payload,
                format=wanted,
                concurrency=each,
            )
            for each in asked
        ]
        if any(cell in summaries for cell in cells):
            figures = [
                shown(summaries[cell]) + _star(summaries[cell].others > BUSY) if cell in summaries else "-"
                for cell in cells
            ]
            yield f"| {TITLES[server]} | " + " | ".join(figures) + " |"


def _cost(summaries: Summaries) -> Iterator[str]:
    yield "## What an answer costs: mixed sizes, png16, 16 at a time"
    yield ""
    yield "| server | engine | server's processor ms an answer | client's | memory, MB | processes |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for arm in ARM_TITLES:
        for server in NAMES:
            cell = Cell(server=server, arm=arm, payload="mixed", format="png16", concurrency=16)
            if cell in summaries:
                each = summaries[cell]
                yield (
                    f"| {TITLES[server]} | {arm} | {each.cpu_ms:.1f} | {each.client_ms:.2f} "
                    f"| {each.memory_bytes / 1e6:.0f} | {each.processes} |"
                )


def _sweeps(results: Path) -> Iterator[str]:
    yield "## Answers a second by number of workers: mixed sizes, png16, 16 at a time"
    yield ""
    yield "| server | engine | " + " | ".join(f"{count} workers" for count in WORKERS) + " |"
    yield "| --- " * (2 + len(WORKERS)) + "|"
    for (server, arm), rates in sorted(read_sweeps(results).items()):
        figures = [f"{rates[count]:.1f}" if count in rates else "-" for count in WORKERS]
        yield f"| {TITLES[server]} | {arm} | {' | '.join(figures)} |"


def _pipelines(results: Path) -> Pipelines:
    """Return the median of each pipeline over the rounds."""
    found: dict[str, list[InProcess]] = defaultdict(list)
    for each in read_in_process(results):
        for name, pipeline in each.items():
            found[name].append(InProcess(**pipeline))
    return {name: middle(each) for name, each in found.items()}


def _in_process_lines(summaries: Summaries, pipelines: Pipelines) -> Iterator[str]:
    yield "## The in-process pipeline"
    yield ""
    yield IN_PROCESS
    yield ""
    yield "| request | decode ms | predict ms | encode ms | client ms | a second | with no client |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, pipeline in pipelines.items():
        payload, wanted = name.split()
        cell = Cell(server="ours", arm="openvino", payload=payload, format=wanted, concurrency=16)
        if cell in summaries:
            client_ms = summaries[cell].client_ms
            stages = (pipeline.decode_s * 1e3, pipeline.predict_s * 1e3, pipeline.encode_s * 1e3, client_ms)
            yield (
                f"| {name} | "
                + " | ".join(f"{each:.2f}" for each in stages)
                + f" | {pipeline.beside(client_ms / 1e3):.1f} | {pipeline.per_second:.1f} |"
            )


def _known(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _shown(each: Spread) -> str:
    return f"{each.median:.1f} ({each.lowest:.1f} to {each.highest:.1f})"


def _is(cell: Cell, payload: str, concurrency: int, wanted: str) -> bool:
    return replace(cell, server="", arm="") == Cell(
        server="", arm="", payload=payload, format=wanted, concurrency=concurrency
    )


def _where(cell: Cell) -> str:
    return f"{cell.payload}, {cell.format}, {cell.concurrency} at a time"
