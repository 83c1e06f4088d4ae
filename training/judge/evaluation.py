"""Judge whatever predicts disparity: any function from photographs to maps, over frames with ground truth.

The training loop calls this on a live network, `depth-evaluate` on a file.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from training.data.frames import FrameError
from training.judge.alignment import Alignment
from training.judge.bootstrap import USUAL, BootstrapConfig
from training.judge.comparison import (
    Comparison,
    FrameScore,
    PredictDisparity,
    compare,
    countable,
    predict_frames,
)
from training.judge.protocols.protocol import JudgedFrame, JudgedFrames, JudgingError, JudgingProtocol
from training.judge.report import Report, summarise

Progress = Callable[[int, int], None]
"""Told how many frames are done, and of how many."""
Watch = Callable[[JudgedFrame, Comparison], None]

_READERS = 2
"""Threads that read frames while others are predicted."""
_CHUNKS_AHEAD = 2
_SHOWN = 20


def evaluate(
    predict: PredictDisparity,
    frames: JudgedFrames,
    protocol: JudgingProtocol,
    alignment: Alignment = "median",
    *,
    metres_per_unit: float | None = None,
    flip: bool = False,
    batch_size: int = 1,
    bootstrap: BootstrapConfig = USUAL,
    progress: Progress | None = None,
) -> Report:
    """Judge by one alignment; see `evaluate_all`."""
    (report,) = evaluate_all(
        predict,
        frames,
        protocol,
        (alignment,),
        metres_per_unit=metres_per_unit,
        flip=flip,
        batch_size=batch_size,
        bootstrap=bootstrap,
        progress=progress,
    )
    return report


def evaluate_all(
    predict: PredictDisparity,
    frames: JudgedFrames,
    protocol: JudgingProtocol,
    alignments: Sequence[Alignment],
    *,
    metres_per_unit: float | None = None,
    flip: bool = False,
    batch_size: int = 1,
    bootstrap: BootstrapConfig = USUAL,
    lengths: Sequence[int] = (),
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> tuple[Report, ...]:
    """Predict every frame once and judge it by several alignments.

    Args:
        predict: What is judged; see `training.judge.candidates` for networks, exports and services.
        frames: Photographs with ground truth, read ahead in threads.
        protocol: What counts.
        alignments: How predictions come to the ground truth's scale, a report for each.
        metres_per_unit: What a unit of predicted depth is worth, which `none` needs.
        flip: Whether to average disparity with that of the mirrored photograph.
        batch_size: Photographs given to `predict` at once. One is quickest on a CPU; a GPU wants more.
        bootstrap: How the means' intervals are drawn.
        lengths: How many frames each set has, where they are several sets; see `summarise`.
        progress: Told after each batch.
        watch: Shown every frame beside its prediction, for what the seven numbers do not tell.

    Raises:
        JudgingError: A frame has no ground truth that counts, or what was predicted is no disparity.
        ValueError: `none` is asked for and what a unit is worth is not known.
    """
    if len(frames) == 0:
        raise JudgingError("there are no frames to judge; expected at least one")
    scores: dict[Alignment, list[FrameScore]] = {alignment: [] for alignment in alignments}
    done = 0
    for chunk in _read_ahead(frames, batch_size):
        disparities = predict_frames(predict, chunk, protocol, flip=flip)
        for frame, disparity in zip(chunk, disparities, strict=True):
            comparison = compare(frame, disparity, protocol)
            if watch is not None:
                watch(frame, comparison)
            for alignment in scores:
                scores[alignment].append(comparison.score(alignment, metres_per_unit))
        done += len(chunk)
        if progress is not None:
            progress(done, len(frames))
    return tuple(
        summarise(
            of_frames,
            protocol,
            alignment,
            flip=flip,
            metres_per_unit=metres_per_unit,
            bootstrap=bootstrap,
            lengths=lengths,
        )
        for alignment, of_frames in scores.items()
    )


def require_countable(frames: JudgedFrames, protocol: JudgingProtocol) -> None:
    """Read all frames, and refuse those whose ground truth cannot be judged, before any is predicted.

    Raises:
        JudgingError: With every frame that cannot be read, or of whose ground truth nothing counts.
    """

    def trouble(index: int) -> str | None:
        try:
            countable(frames[index], protocol)
        except (JudgingError, FrameError) as error:
            return str(error)
        return None

    with ThreadPoolExecutor(_READERS) as pool:
        found = [text for text in pool.map(trouble, range(len(frames))) if text is not None]
    if found:
        more = f"\nand {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise JudgingError("\n".join(found[:_SHOWN]) + more)


def _read_ahead(frames: JudgedFrames, batch_size: int) -> Iterator[list[JudgedFrame]]:
    """Yield frames in batches, while at most two batches more are being read."""
    chunks = deque(
        range(start, min(start + batch_size, len(frames))) for start in range(0, len(frames), batch_size)
    )
    with ThreadPoolExecutor(_READERS) as pool:
        ahead: deque[list[Future[JudgedFrame]]] = deque()
        while chunks or ahead:
            while chunks and len(ahead) <= _CHUNKS_AHEAD:
                ahead.append([pool.submit(frames.__getitem__, index) for index in chunks.popleft()])
            yield [reading.result() for reading in ahead.popleft()]
