"""The loop: batches to steps to weights; resumable to the bit, watched, and stopped when it goes wrong.

Every step depends on the run's state, the seed and its own number alone, so an interrupted run gives the
same weights as one that was not.
"""

import logging
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from training.config import CONTENTS, TrainConfig, decisive
from training.data.batch import Batch
from training.data.loader import BatchLoader
from training.data.relight import RawBatch
from training.judge.protocols.folder import Crop
from training.loop.distributed import Process, agreed, unsynchronised, wait_for_all, wrapped
from training.loop.failure import TrainingDiverged, save_failure
from training.loop.interrupts import stopping_by_signals
from training.loop.optimizer import (
    AveragedWeights,
    build_optimizer,
    optimizer_tensors,
    rate_factor,
    restore_optimizer,
    set_rates,
)
from training.loop.outcome import Outcome
from training.loop.run_log import Progress, RunLog
from training.loop.run_state import RunState, load_run_state, save_run_state
from training.loop.validation import Validated, say_validated, validate
from training.step.assembly import Networks
from training.step.step import StepResult, TrainingStep

_log = logging.getLogger(__name__)

_RECENT = 100
_EXPLODED = 20.0
"""A loss this many times the median of the recent ones has exploded."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a run ended."""

    step: int
    complete: bool
    """False where a signal stopped it; the same command goes on."""
    seconds: float
    validated: Validated | None


class Trainer:
    """One run.

    Args:
        config: What to do.
        networks: What is trained, on the process's device.
        loader: Batches for training; this process's part of each.
        validation: Frames to watch the run by; None: none.
        process: Which of how many this is.
        contents: What tells data and checkpoints apart that have one name, to notice when they change.
        on_best: Called where the averaged weights, then in the networks, are the best so far.
        ahead: Whether a step is queued before the host has read the loss of the one before; None: on a GPU.
    """

    def __init__(
        self,
        config: TrainConfig,
        networks: Networks,
        loader: BatchLoader,
        validation: BatchLoader | None,
        process: Process,
        contents: Mapping[str, str] | None = None,
        on_best: Callable[[Validated], None] | None = None,
        ahead: bool | None = None,
    ) -> None:
        self.config = config
        self.networks = networks
        self._loader, self._validation = loader, validation
        self._process = process
        self._folder = config.folder
        named = {f"{name}{CONTENTS}": what for name, what in (contents or {}).items()}
        self._settings = decisive(config) | named | {"processes": process.world_size}
        self._parameters = networks.trainable()
        self._optimizer = build_optimizer(self._parameters, config.optimizer)
        # A camera is one number, which the average would only follow late.
        averaged = {name: one for name, one in self._parameters.items() if not name.startswith("intrinsics.")}
        self.average = AveragedWeights(averaged, config.schedule.ema_decay)
        self._on_best = on_best
        if config.operation.compile:
            # In place, so that names of parameters stay as they are.
            networks.depth.compile()
        self._step = wrapped(TrainingStep(networks, config), process)
        self._log = RunLog(self._folder, tensorboard=config.operation.tensorboard, active=process.leads)
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self.done = 0
        self.seconds = 0.0
        self._best: float | None = None
        self._best_by = (config.operation.validate_crop, *config.validation)
        self._stopping = False
        if ahead is None:
            ahead = process.device.type == "cuda" and process.world_size == 1
        self._ahead = ahead
        self._unread: Outcome | None = None

    def run(self) -> Finished:
        """Train from where the run's folder says until the end, or until a signal.

        Raises:
            RunStateError: The folder holds another run.
            TrainingDiverged: The loss is not finite, or has exploded; the batch was saved.
        """
        self._resume()
        steps, operation = self.config.schedule.steps, self.config.operation
        progress = Progress(steps, self.done)
        batches = self._batches()
        saved_at = started = time.monotonic()
        validated = None
        self.networks.train()
        try:
            with stopping_by_signals(self.stop):
                while self.done < steps and not agreed(self._stopping, self._process):
                    outcome = self._advance(batches)
                    now = time.monotonic()
                    self.seconds, started = self.seconds + now - started, now
                    if _due(self.done, operation.log_every):
                        self._read()
                        self._report(outcome, progress)
                    pictures = outcome.result.pictures
                    if _due(self.done, operation.pictures_every) and pictures is not None:
                        self._log.pictures(self.done, pictures)
                    if _due(self.done, operation.validate_every) and self.done < steps:
                        validated = self._validate()
                    late = now - saved_at > 60 * operation.save_minutes
                    if _due(self.done, operation.save_every) or agreed(late, self._process):
                        self.save()
                        saved_at = time.monotonic()
            self._read()
            complete = self.done >= steps
            if complete:
                validated = self._validate()
            self.save()
        finally:
            batches.close()
            self._log.close()
        return Finished(step=self.done, complete=complete, seconds=self.seconds, validated=validated)

    def stop(self) -> None:
        """Finish the step that is under way, save and return."""
        self._stopping = True

    def save(self) -> None:
        """Write the run's state."""
        self._read()
        if self._process.leads:
            state = RunState(
                step=self.done,
                settings=self._settings,
                seconds=round(self.seconds, 3),
                best=self._best,
                best_by=self._best_by,
                recent_losses=tuple(self._recent),
            )
            save_run_state(self._folder, state, dict(self._tensors()))
        wait_for_all(self._process)

    def averaged(self) -> AbstractContextManager[None]:
        """Return a context in which the networks have the averaged weights."""
        return self.average.swapped(self._parameters)

    def timed_step(self) -> float:
        """Return the seconds that one step takes, without changing anything; the first is slower."""
        batch = self._loader.batch_at(0).to(self._process.device)
        started = time.monotonic()
        self._seed()
        result: StepResult = self._step(batch, self.done)
        result.loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.zero_grad(set_to_none=True)
        if self._process.device.type == "cuda":
            torch.cuda.synchronize()
        return (time.monotonic() - started) * self.config.schedule.accumulation

    def _batches(self) -> Generator[Batch | RawBatch, None, None]:
        yield from self._loader.batches(self.done * self.config.schedule.accumulation)

    def _advance(self, batches: Iterator[Batch | RawBatch]) -> Outcome:
        """Do one step of the optimizer, over as many batches as are accumulated."""
        count = self.config.schedule.accumulation
        set_rates(self._optimizer, rate_factor(self.done, self.config.schedule))
        self._optimizer.zero_grad(set_to_none=True)
        self._seed()
        detail = self._wants_detail()
        losses, used = [], []
        for index in range(count):
            batch = next(batches).to(self._process.device)
            used.append(batch)
            last = index == count - 1
            with unsynchronised(self._step, not last):
                result: StepResult = self._step(batch, self.done, detail and last)
                (result.loss / count).backward()  # type: ignore[no-untyped-call]
            losses.append(result.loss.detach())
        outcome = Outcome(self.done, result, used, losses, self._clip())
        if self._ahead:
            # The device itself leaves the weights alone where the step is bad; the host hears of it later.
            self._optimizer.found_inf = outcome.bad(self._highest())  # type: ignore[attr-defined]
            outcome.fetch()
            self._read()
            self._unread = outcome
        else:
            self._check(outcome)
        self._optimizer.step()
        self.done += 1
        self.average.update(self._parameters, self.done)
        return outcome

    def _read(self) -> None:
        """Wait for the loss of the last step, if it has not been looked at."""
        unread, self._unread = self._unread, None
        if unread is not None:
            self._check(unread)

    def _clip(self) -> Tensor:
        gradients = [p.grad for p in self._parameters.values() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        limit = self.config.optimizer.clip_norm
        if limit:
            torch.nn.utils.clip_grads_with_norm_(self._parameters.values(), limit, norm)
        return norm

    def _highest(self) -> float:
        """Return the highest loss that has not exploded."""
        usual = statistics.median(self._recent) if len(self._recent) == _RECENT else math.inf
        return _EXPLODED * max(usual, 1e-3)

    def _check(self, outcome: Outcome) -> None:
        """Note a step's loss, or stop before the weights are spoilt, keeping what did it."""
        loss, norm, highest = outcome.loss, outcome.norm, self._highest()
        finite = math.isfinite(loss) and math.isfinite(norm)
        if not agreed(not finite or loss > highest, self._process):
            self._recent.append(loss)
            return
        terms = {name: float(value) for name, value in outcome.result.terms.items()}
        path = save_failure(self._folder, outcome.step, self._process.rank, outcome.batches, terms)
        if not finite:
            problem = f"the loss is {loss} and the gradient's norm {norm}"
        else:
            usual = highest / _EXPLODED
            problem = f"the loss is {loss:.3g}, {loss / usual:.0f} times the recent median of {usual:.3g}"
        raise TrainingDiverged(outcome.step, problem, path)

    def _resume(self) -> None:
        found = load_run_state(self._folder, self._settings)
        if found is None:
            self._log.forget_after(-1)
            return
        state, tensors = found
        own = dict(self._tensors_without_optimizer())
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])
        prefix = "optimizer/"
        kept = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        restore_optimizer(self._optimizer, self._parameters, kept)
        self.done, self.seconds = state.step, state.seconds
        self._best = state.best if state.best_by in ((), self._best_by) else None
        self._recent.extend(state.recent_losses)
        self._log.forget_after(self.done)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._tensors_without_optimizer()
        for name, tensor in optimizer_tensors(self._optimizer, self._parameters):
            yield f"optimizer/{name}", tensor

    def _tensors_without_optimizer(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._parameters.items():
            yield f"weights/{name}", parameter
        for name, value in self.average.values.items():
            yield f"average/{name}", value

    def _seed(self) -> None:
        """Give the step its own random numbers, whatever was drawn before."""
        torch.manual_seed(
            (self.config.seed << 32) + self.done * self._process.world_size + self._process.rank
        )

    def _wants_detail(self) -> bool:
        operation, after = self.config.operation, self.done + 1
        return _due(after, operation.log_every) or _due(after, operation.pictures_every)

    def _report(self, outcome: Outcome, progress: Progress) -> None:
        result, loss = outcome.result, outcome.loss
        values = {"loss": loss, "gradient_norm": outcome.norm, "data_wait": self._loader.wait_share}
        values["rate"] = rate_factor(self.done - 1, self.config.schedule)
        values |= {name: float(value) for name, value in (result.terms | result.watched).items()}
        cameras = self.networks.learned_cameras
        values |= {f"fov_deg/{camera.name}": camera.fov_deg for camera in cameras}
        self._log.scalars(self.done, values, group="training")
        if self._process.leads:
            extra = f"  abs_rel {values['abs_rel']:.3f}" if "abs_rel" in values else ""
            extra += "".join(f"  fov {camera.fov_deg:.1f}" for camera in cameras)
            progress.report(self.done, loss, self._loader.wait_share, extra)
        self._loader.reset_wait_share()

    def _validate(self) -> Validated | None:
        """Judge the averaged weights, and keep them where they are the best so far."""
        self._read()
        crop = self.config.operation.validate_crop
        found: Mapping[Crop, Validated] = {}
        if self._validation is not None and self._process.leads:
            with self.averaged():
                found = validate(self.networks.depth, self._validation, self._process.device)
                best = found.get(crop)
                if best is not None and (self._best is None or best.metrics.abs_rel < self._best):
                    self._best = best.metrics.abs_rel
                    if self._on_best is not None:
                        self._on_best(best)
        if found:
            say_validated(self._log, self.done, found, crop)
        wait_for_all(self._process)
        return found.get(crop)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
