"""What models have done, in the protocol's terms: counts, and nanoseconds by phase.

Clients take two readings and subtract, so nothing here ever shrinks while a model stays loaded; and
perf_analyzer wants all phases to have as many counts.
"""

from collections.abc import Iterable

from service.contract.answer import ModelInfo
from service.kserve.objects import Duration, ModelStatistics, Statistics


def model_statistics(infos: Iterable[ModelInfo]) -> Statistics:
    """Say what each version of each model has done since it was loaded."""
    return {"model_stats": [_statistics(info) for info in infos]}


def _statistics(info: ModelInfo) -> ModelStatistics:
    done = info.statistics
    return {
        "name": info.name,
        "version": info.version,
        "last_inference": round(done.last_used_s * 1e3),
        "inference_count": done.images,
        "execution_count": done.batches,
        "inference_stats": {
            "success": _duration(done.calls, done.total_s),
            "fail": _duration(done.failed, done.failed_s),
            "queue": _duration(done.calls, done.queue_s),
            "compute_input": _duration(done.calls, done.decode_s),
            "compute_infer": _duration(done.calls, done.network_s),
            "compute_output": _duration(done.calls, done.encode_s),
            "cache_hit": _duration(0, 0.0),
            "cache_miss": _duration(0, 0.0),
        },
        "batch_stats": [
            {
                "batch_size": size,
                # Decoding and encoding happen image by image, whatever the batch.
                "compute_input": _duration(0, 0.0),
                "compute_infer": _duration(count, seconds),
                "compute_output": _duration(0, 0.0),
            }
            for size, (count, seconds) in done.batch_sizes.items()
        ],
    }


def _duration(count: int, seconds: float) -> Duration:
    return {"count": count, "ns": round(seconds * 1e9)}
