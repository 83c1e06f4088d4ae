"""One server after another: started, warmed up, asked, judged, stopped."""

import datetime
import shutil
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.rivals.answers import Agreement, WrongAnswer, compare, decode_answer, expected_depth
from benchmarks.rivals.cells import Cell, Outcome, latency_step
from benchmarks.rivals.contenders import HOST, SERVERS, Contender, free_port, log_path
from benchmarks.rivals.environments import ROOT
from benchmarks.rivals.load import Body, Load, Pace, compiled, put_load
from benchmarks.rivals.photographs import Photograph, photographs
from benchmarks.rivals.processes import ServerProcesses, Usage, running

CHECKPOINT = ROOT / "model" / "pretrained" / "student.safetensors"
_WARM_CONNECTIONS = 4
_WARM_PACE = Pace(warm_s=1.0, measure_s=1.0)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the answers of one load were worth."""

    checked: int
    wrong: int
    agreement: Agreement
    """The worst."""


class Bench:
    """Measures cells.

    Args:
        folder: For everything that is made on the way; may be removed at any time.
        pace: How long each cell is measured.
    """

    def __init__(self, folder: Path, pace: Pace) -> None:
        self._folder = folder
        self._pace = pace
        self._client = compiled(folder)
        self._verdicts: dict[tuple[str, str, str, str], Agreement | str] = {}

    def measure(self, contender: Contender, cells: Sequence[Cell], round_: int) -> Iterator[Outcome]:
        """Start a server, measure its cells, and stop it.

        Raises:
            RuntimeError: The server or the client gave up.
        """
        port = free_port()
        files = {
            (cell.payload, cell.format): self._requests(contender, cell.payload, cell.format)
            for cell in cells
        }
        first = next(iter(files.values()))[0]
        with running(
            contender.command(port),
            contender.environment(port),
            log_path(self._folder / "logs", contender),
            ROOT if contender.name == "ours" else SERVERS,
            lambda: _answers(port, first.read_bytes()),
        ) as server:
            for requests in files.values():
                self._load(port, requests, _WARM_CONNECTIONS, _WARM_PACE)
            for cell in cells:
                yield self._measure(contender, cell, server, port, files[cell.payload, cell.format], round_)

    def _measure(
        self,
        contender: Contender,
        cell: Cell,
        server: ServerProcesses,
        port: int,
        requests: list[Path],
        round_: int,
    ) -> Outcome:
        usages: list[Usage] = []
        load, judged = self._load(
            port,
            requests,
            cell.concurrency,
            self._pace,
            lambda: usages.append(server.usage()),
            lambda bodies, folder: self._judge(contender, cell, bodies, folder),
        )
        began, ended = usages[0], usages[-1]
        server_s = ended.processor_s - began.processor_s
        return Outcome(
            cell=cell,
            round=round_,
            per_second=load.per_second,
            p50_ms=load.p50_ms,
            p90_ms=load.p90_ms,
            p99_ms=load.p99_ms,
            mean_ms=load.mean_ms,
            seconds=load.seconds,
            answers=load.answers,
            failures=load.failures + load.broken,
            checked=judged.checked,
            wrong=judged.wrong,
            mean_error=judged.agreement.mean,
            tail_error=judged.agreement.tail,
            server_cpu_s=server_s,
            client_cpu_s=load.client_cpu_s,
            others_cpu_s=max(0.0, ended.busy_s - began.busy_s - server_s - load.client_cpu_s),
            memory_bytes=server.memory_bytes(),
            processes=server.count(),
            workers=contender.workers if contender.name != "ours" else 0,
            latencies=dict(Counter(map(latency_step, load.latencies_ms))),
            at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )

    def _load(
        self,
        port: int,
        requests: list[Path],
        connections: int,
        pace: Pace,
        on_edge: Callable[[], None] = lambda: None,
        judge: Callable[[Sequence[Body], Path], Judged] | None = None,
    ) -> tuple[Load, Judged]:
        folder = Path(tempfile.mkdtemp(prefix="answers-"))
        try:
            load = put_load(
                self._client,
                (HOST, port),
                requests,
                connections=connections,
                pace=pace,
                folder=folder,
                on_begin=on_edge,
                on_end=on_edge,
            )
            nothing = Judged(checked=0, wrong=0, agreement=Agreement(mean=0.0, tail=0.0))
            return load, nothing if judge is None else judge(load.bodies, folder)
        finally:
            shutil.rmtree(folder)

    def _judge(self, contender: Contender, cell: Cell, bodies: Sequence[Body], folder: Path) -> Judged:
        asked = self._photographs(cell.payload)
        right = [Agreement(mean=0.0, tail=0.0)]
        checked = wrong = 0
        for body in bodies:
            photograph = asked[body.request]
            key = (contender.name, photograph.name, cell.format, body.hash)
            if body.status != 200:
                continue
            if key not in self._verdicts:
                self._verdicts[key] = self._verdict(contender, photograph, cell.format, folder / body.file)
            verdict = self._verdicts[key]
            checked += body.count
            if isinstance(verdict, Agreement):
                right.append(verdict)
            else:
                wrong += body.count
                print(f"    WRONG, {body.count} times: {photograph.name}: {verdict}", flush=True)
        worst = Agreement(mean=max(each.mean for each in right), tail=max(each.tail for each in right))
        return Judged(checked=checked, wrong=wrong, agreement=worst)

    def _verdict(
        self, contender: Contender, photograph: Photograph, wanted: str, file: Path
    ) -> Agreement | str:
        head, _, body = file.read_bytes().partition(b"\r\n\r\n")
        try:
            depth = decode_answer(contender.unwrap(head, body), wanted, photograph.height, photograph.width)
            return compare(depth, self._expected(photograph), wanted)
        except (WrongAnswer, ValueError) as error:
            return str(error)

    def _expected(self, photograph: Photograph) -> np.ndarray:
        return expected_depth(photograph, CHECKPOINT, self._folder / "expected")

    def _photographs(self, payload: str) -> list[Photograph]:
        return photographs(self._folder / "photographs", payload)

    def _requests(self, contender: Contender, payload: str, wanted: str) -> list[Path]:
        folder = self._folder / "requests" / contender.name
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for photograph in self._photographs(payload):
            self._expected(photograph)  # now, rather than while something is measured
            path = folder / f"{photograph.name}-{wanted}.http"
            path.write_bytes(contender.request(photograph.path.read_bytes(), wanted))
            paths.append(path)
        return paths


def _answers(port: int, request: bytes) -> bool:
    """Whether a server answers a whole request with 200."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.decode("latin-1").split("\r\n")
    named = dict(header.split(": ", 1) for header in headers)
    asked = urllib.request.Request(
        f"http://{HOST}:{port}{line.split()[1]}", data=body, headers=named, method="POST"
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - always http
        return bool(answer.status == 200 and answer.read())
