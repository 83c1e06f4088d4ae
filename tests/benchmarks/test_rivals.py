"""The comparison with other servers, without any of them: arithmetic, framing, and the client's eyes."""

import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.rivals.__main__ import grouped, setting, sweep
from benchmarks.rivals.answers import WrongAnswer, compare, decode_answer
from benchmarks.rivals.cells import Cell, Outcome, append, latency_step, plan, read_outcomes, undisturbed
from benchmarks.rivals.contenders import NAMES, RIVALS, Contender
from benchmarks.rivals.in_process import InProcess
from benchmarks.rivals.load import Load, Pace, compiled, put_load
from benchmarks.rivals.report import write_report
from benchmarks.rivals.summary import duels, spread, summarise

CELL = Cell(server="ours", arm="openvino", payload="mixed", format="png16", concurrency=16)


def outcome(cell: Cell = CELL, round_: int = 0, **changed: float) -> Outcome:
    measured = Outcome(
        cell=cell,
        round=round_,
        per_second=50.0,
        p50_ms=300.0,
        p90_ms=310.0,
        p99_ms=320.0,
        mean_ms=301.0,
        seconds=2.0,
        answers=100,
        failures=0,
        checked=120,
        wrong=0,
        mean_error=0.01,
        tail_error=0.05,
        server_cpu_s=3.0,
        client_cpu_s=0.1,
        others_cpu_s=0.1,
        memory_bytes=10**8,
        processes=2,
        at="2026-01-02T03:04:05+00:00",
    )
    return replace(measured, **changed)  # type: ignore[arg-type]


# Cells


def test_a_cell_is_planned_once() -> None:
    cells = list(plan())
    assert len(cells) == len(set(cells)) == 140


def test_an_outcome_is_read_as_it_was_written_and_the_last_word_counts(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for measured in (outcome(), outcome(round_=1), outcome(per_second=51.0)):
        append(path, measured.to_json())
    append(path, json.dumps({"setting": {"cores": 2}}))
    assert sorted(read_outcomes(path), key=lambda each: each.round) == [
        outcome(per_second=51.0),
        outcome(round_=1),
    ]


def test_of_a_cell_that_was_measured_again_the_least_disturbed_counts(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for disturbed_s in (1.0, 0.2, 0.5):
        append(path, outcome(others_cpu_s=disturbed_s).to_json())
    assert read_outcomes(path) == [outcome(others_cpu_s=0.2)]


# Arithmetic


def test_a_cell_that_others_disturbed_is_measured_again() -> None:
    disturbed = replace(CELL, concurrency=64)
    found = [outcome(others_cpu_s=0.19), outcome(disturbed, others_cpu_s=0.21), outcome(disturbed, round_=1)]
    assert undisturbed(found, round_=0, cores=2) == {CELL}
    assert undisturbed(found, round_=1, cores=2) == {disturbed}


def test_a_spread_is_the_median_and_both_ends() -> None:
    assert (spread([3.0, 1.0, 2.0]).median, spread([3.0, 1.0]).lowest, spread([3.0, 1.0]).highest) == (
        2,
        1,
        3,
    )


def test_a_cell_costs_the_processor_time_of_its_answers() -> None:
    found = summarise([outcome(), outcome(round_=1, server_cpu_s=5.0)], cores=2)[CELL]
    assert found.rounds == 2
    assert found.cpu_ms == pytest.approx(40.0)


def test_a_disturbed_round_counts_only_where_there_is_no_other() -> None:
    rounds = [outcome(round_=0, others_cpu_s=1.0), outcome(round_=1, per_second=60.0)]
    found = summarise(rounds, cores=2)[CELL]
    assert (found.rounds, found.per_second.median) == (1, 60.0)
    assert summarise(rounds[:1], cores=2)[CELL].others == pytest.approx(1.0 / 2.0 / 2)


def test_ours_is_held_against_the_best_rival_of_each_cell() -> None:
    rates = {"ours": 60.0, "mosec": 40.0, "ray": 30.0}
    outcomes = [outcome(replace(CELL, server=name), per_second=rate) for name, rate in rates.items()]
    (duel,) = duels(summarise(outcomes, cores=2), "openvino")
    assert (duel.rival, duel.theirs, duel.ratio) == ("mosec", 40.0, 1.5)


def test_the_lone_request_is_held_against_the_quickest_rival() -> None:
    times = {"ours": 20.0, "mosec": 30.0, "ray": 25.0}
    outcomes = [outcome(replace(CELL, server=name), p50_ms=time) for name, time in times.items()]
    (duel,) = duels(summarise(outcomes, cores=2), "openvino", lowest_latency=True)
    assert (duel.rival, duel.ratio) == ("ray", 0.8)


def test_the_in_process_pipeline_is_what_the_cores_do_in_company() -> None:
    pipeline = InProcess(decode_s=0.004, predict_s=0.010, encode_s=0.006, batch=1, cores=2)
    assert pipeline.per_second == pytest.approx(100.0)


def test_a_99th_percentile_is_of_a_thousand_answers_of_all_rounds() -> None:
    def of(count: int, slow: int) -> Outcome:
        return outcome(round_=slow, latencies={latency_step(20.0): count, latency_step(80.0): slow})

    assert summarise([of(980, 12)], cores=2)[CELL].p99_ms is None
    assert summarise([of(980, 12), of(980, 4)], cores=2)[CELL].p99_ms == pytest.approx(20.0, rel=0.01)
    assert summarise([of(980, 12), of(980, 14)], cores=2)[CELL].p99_ms == pytest.approx(80.0, rel=0.01)


def test_a_rival_is_measured_with_its_best_number_of_workers(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for workers, rate in ((1, 20.0), (2, 31.0), (3, 30.0), (4, 0.0), (2, 33.0)):
        told = {"server": "mosec", "arm": "eager", "workers": workers, "per_second": rate}
        append(path, json.dumps({"sweep": told}))
    cell = replace(CELL, server="mosec", arm="eager")
    assert sweep([cell, CELL], path, Pace()) == {("mosec", "eager"): 2}  # there is nothing left to try
    assert grouped([cell], 0, {("mosec", "eager"): 2}) == [
        (Contender(name="mosec", arm="eager", workers=2), [cell])
    ]
    variables = Contender(name="mosec", arm="eager", workers=2).environment(1)
    assert variables["RIVAL_WORKERS"] == "2"


def test_servers_that_are_left_out_keep_the_versions_that_were_said_of_them() -> None:
    before = {"versions": {"mosec": {"mosec": "0.9.8"}}}
    versions = setting(["ours"], before)["versions"]
    assert isinstance(versions, dict)
    assert versions["mosec"] == {"mosec": "0.9.8"}
    assert versions["ours"]["openvino"]


def test_a_report_says_what_was_met_and_what_was_not(tmp_path: Path) -> None:
    results, report, docs = tmp_path / "results.jsonl", tmp_path / "report.md", tmp_path / "docs.md"
    docs.write_text("before\n<!-- rivals -->\nold\n<!-- /rivals -->\nafter\n")
    setting = {"processor": "P", "cores": 2, "kernel": "6", "python": "3", "commit": "c", "versions": {}}
    setting["precision"] = "bfloat16"
    append(results, json.dumps({"setting": setting}))
    for round_, decode_s in enumerate((0.009, 0.03, 0.008)):
        pipeline = InProcess(decode_s=decode_s, predict_s=0.01, encode_s=0.01, batch=2, cores=2)
        append(results, json.dumps({"in_process": {"mixed png16": asdict(pipeline)}, "round": round_}))
    append(results, outcome(per_second=60.0).to_json())
    append(results, outcome(replace(CELL, server="mosec"), per_second=50.0).to_json())
    write_report(results, report, docs)
    text = report.read_text()
    assert "| bfloat16 | 60.0 | 50.0 (mosec) | 1.20 | 1.5 | **no** | 30.0, 30.0 |" in text
    assert "| bfloat16 | 60.0 | 66.7 (no server) | 0.90 |" in text
    assert "240 answers were compared" in text
    assert "old" not in docs.read_text()
    assert docs.read_text().startswith("before\n<!-- rivals -->\nMeasured on 2026-01-02, P, 2 cores")
    assert docs.read_text().endswith("<!-- /rivals -->\nafter\n")


# Requests and answers


@pytest.mark.parametrize("name", NAMES)
def test_every_request_is_whole_and_asks_for_no_compression(name: str) -> None:
    head, _, body = (
        Contender(name=name, arm="openvino").request(b"\xff\xd8jpeg", "png16").partition(b"\r\n\r\n")
    )
    headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert int(headers[b"Content-Length"]) == len(body)
    assert headers[b"Accept-Encoding"] == b"identity"
    assert b"\xff\xd8jpeg" in body


def test_a_depth_map_is_found_in_tritons_frame() -> None:
    frame = b'{"outputs":[]}'
    head = b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: %d" % len(frame)
    body = frame + (5).to_bytes(4, "little") + b"depth"
    assert Contender(name="triton", arm="eager").unwrap(head, body) == b"depth"
    with pytest.raises(ValueError, match="Inference-Header"):
        Contender(name="triton", arm="eager").unwrap(b"HTTP/1.1 200 OK", body)


def test_depth_comes_back_from_both_formats() -> None:
    depth = np.linspace(2, 80, 12, dtype=np.float32).reshape(3, 4)
    png = cv2.imencode(".png", (depth * 256 + 0.5).astype(np.uint16))[1].tobytes()
    np.testing.assert_allclose(decode_answer(png, "png16", 3, 4), depth, atol=1 / 256)
    np.testing.assert_array_equal(decode_answer(depth.tobytes(), "float32", 3, 4), depth)


@pytest.mark.parametrize(
    ("body", "wanted", "complaint"),
    [
        (b"", "png16", "no image"),
        (b"x" * 47, "float32", "47 bytes; expected 48"),
        (cv2.imencode(".png", np.ones((3, 5), np.uint16))[1].tobytes(), "png16", r"\(3, 5\)"),
        (cv2.imencode(".png", np.ones((3, 4), np.uint8))[1].tobytes(), "png16", "uint8"),
        (cv2.imencode(".png", np.zeros((3, 4), np.uint16))[1].tobytes(), "png16", "are 0"),
    ],
)
def test_an_answer_that_is_not_of_the_exact_size_and_kind_is_wrong(
    body: bytes, wanted: str, complaint: str
) -> None:
    with pytest.raises(WrongAnswer, match=complaint):
        decode_answer(body, wanted, 3, 4)


def test_a_map_of_another_photograph_is_wrong() -> None:
    expected = np.linspace(2, 80, 1000, dtype=np.float32).reshape(20, 50)
    assert compare(expected * 1.01, expected, "float32").mean == pytest.approx(0.01, rel=1e-3)
    with pytest.raises(WrongAnswer, match="on average"):
        compare(expected[::-1], expected, "float32")
    with pytest.raises(WrongAnswer, match="on average"):
        compare(np.full_like(expected, np.nan), expected, "float32")


# The client, against a server that answers what it was asked


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503 if body == b"refuse" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class EchoServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Be silent: the client leaves in the middle of answers, because its time is over."""


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield "127.0.0.1", server.server_port
        server.shutdown()
        thread.join()


def load_of(address: tuple[str, int], tmp_path: Path, bodies: list[bytes]) -> tuple[Load, list[str]]:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler, cc")
    requests = []
    for place, body in enumerate(bodies):
        requests.append(tmp_path / f"request{place}")
        requests[-1].write_bytes(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
    answers = tmp_path / "answers"
    answers.mkdir()
    edges: list[str] = []
    load = put_load(
        compiled(tmp_path),
        address,
        requests,
        connections=3,
        pace=Pace(warm_s=0.05, measure_s=0.2, most_s=10.0),
        folder=answers,
        on_begin=lambda: edges.append("begin"),
        on_end=lambda: edges.append("end"),
    )
    return load, edges


def test_the_client_counts_every_answer_and_keeps_each_distinct_one(
    echo: tuple[str, int], tmp_path: Path
) -> None:
    bodies = [b"a" * 10, b"b" * 300_000]
    load, edges = load_of(echo, tmp_path, bodies)
    assert edges == ["begin", "end"]
    assert load.answers >= 6
    assert (load.failures, load.broken) == (0, 0)
    assert load.per_second == pytest.approx(load.answers / load.seconds)
    assert 0 < load.p50_ms <= load.p90_ms <= load.p99_ms
    assert sorted(body.request for body in load.bodies) == [0, 1]
    assert sum(body.count for body in load.bodies) >= load.answers
    for body in load.bodies:
        kept = (tmp_path / "answers" / body.file).read_bytes()
        assert kept.partition(b"\r\n\r\n")[2] == bodies[body.request]


def test_the_client_takes_a_refusal_for_a_failure(echo: tuple[str, int], tmp_path: Path) -> None:
    load, _ = load_of(echo, tmp_path, [b"refuse"])
    assert load.answers == 0
    assert load.failures > 0
    assert {body.status for body in load.bodies} == {503}


def test_every_rival_has_a_server_of_its_own() -> None:
    for name in RIVALS:
        command = Contender(name=name, arm="openvino").command(1234)
        assert any(f"with_{name}" in part for part in command)
