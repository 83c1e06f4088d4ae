from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch

from tests.fake_cuda import fake_cuda, on_device
from tests.training.worlds import HEIGHT, WIDTH, WallWorld
from training.data.augment import Augmentation, AugmentConfig, ColourJitter, Shade, draw
from training.data.batch import Batch, mapped
from training.data.collate import collate, collate_raw, frame
from training.data.loader import BatchLoader, LoaderConfig
from training.data.relight import Light, RawBatch, relight

JITTER = ColourJitter(brightness=1.15, contrast=0.85, saturation=1.2, hue=0.07)
SHADE = Shade(stops=((0.0, 1.0, 0.0, 2.0, 0.5), (1.0, 0.0, 0.0, 0.0, 1.5), (0.0, 0.3, 2.5, 0.0, 0.0)))


def photograph(seed):
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 9, 3), np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def planes(images):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize(
    "drawn",
    [
        Augmentation(jitter=JITTER),
        Augmentation(jitter=replace(JITTER, hue=-0.1, brightness=0.8, contrast=1.2, saturation=0.8)),
        Augmentation(shade=SHADE),
        Augmentation(jitter=JITTER, shade=SHADE),
    ],
)
def test_the_light_that_a_device_makes_is_that_of_the_host(drawn):
    images = [photograph(seed) for seed in range(4)]
    found = relight(planes(images)[None], Light.of([drawn]))[0] * 255
    expected = planes([drawn.relight(image) for image in images]) * 255
    off = (found - expected).abs()
    # OpenCV rounds hue, saturation and value to whole numbers on the way.
    assert off.mean() < 0.7
    assert off.quantile(0.999) < 6
    assert (planes(images) * 255 - expected).abs().mean() > 10


def test_what_was_drawn_by_chance_is_the_hosts_too():
    config = AugmentConfig(jitter=1.0, shade=0.5)
    drawn = [draw(config, np.random.default_rng(seed)) for seed in range(12)]
    images = [photograph(seed) for seed in range(12)]
    found = relight(planes(images)[:, None], Light.of(drawn))[:, 0] * 255
    expected = planes([one.relight(image) for one, image in zip(drawn, images, strict=True)]) * 255
    assert (found - expected).abs().mean() < 0.7


def framed(index, drawn, **options):
    return frame(WallWorld(4)[index], drawn, height=HEIGHT, width=WIDTH, **options)


def test_a_batch_of_bytes_becomes_the_batch_that_the_host_stacks():
    drawn = [Augmentation(), Augmentation(flip=True, jitter=JITTER), Augmentation()]
    host = collate([framed(i, one) for i, one in enumerate(drawn)])
    raw = collate_raw([framed(i, one, relight=False) for i, one in enumerate(drawn)])
    assert raw.image.dtype == raw.sources.dtype == torch.uint8
    found = raw.to("cpu")
    assert isinstance(found, Batch)
    same = {field.name for field in fields(Batch)} - {"image_augmented", "sources_augmented", "counted"}
    for name in same:
        ours, theirs = getattr(found, name), getattr(host, name)
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs, name
    assert found.count().moved.tolist() == host.count().moved.tolist()
    for row, one in enumerate(drawn):
        pairs = [(found.image_augmented[row], host.image_augmented[row])]
        pairs += zip(found.sources_augmented[row], host.sources_augmented[row], strict=True)
        for ours, theirs in pairs:
            if one.relights:
                assert ((ours - theirs).abs().mean() * 255) < 0.7
            else:
                assert torch.equal(ours, theirs)


def test_a_batch_in_which_nothing_is_relit_has_no_second_images():
    found = collate_raw([framed(0, Augmentation(), relight=False)]).to("cpu")
    assert found.sources_augmented is None
    assert found.image_augmented is found.image


def test_a_loader_of_bytes_gives_what_a_loader_of_numbers_gives():
    config = LoaderConfig(
        height=HEIGHT,
        width=WIDTH,
        batch_size=3,
        augment=AugmentConfig(jitter=0.5, crop=0.5),
        pin_memory=False,
    )
    numbers, as_bytes = (BatchLoader(WallWorld(6), replace(config, raw=raw), seed=3) for raw in (False, True))
    for step in range(3):
        raw = as_bytes.batch_at(step)
        assert isinstance(raw, RawBatch)
        found, expected = raw.to("cpu"), numbers.batch_at(step)
        assert found.keys == expected.keys
        assert torch.equal(found.image, expected.image)
        assert torch.equal(found.intrinsics, expected.intrinsics)
        assert ((found.image_augmented - expected.image_augmented).abs().mean() * 255) < 0.7


def test_on_a_gpu_nothing_is_made_elsewhere_and_nothing_is_waited_for():
    drawn = [Augmentation(jitter=JITTER), Augmentation(shade=SHADE)]
    raw = collate_raw([framed(i, one, relight=False) for i, one in enumerate(drawn)])
    with fake_cuda() as dispatched:
        there = replace(
            raw,
            image=on_device(raw.image),
            sources=on_device(raw.sources),
            light=Light(**{name: on_device(value) for name, value in vars(raw.light).items()}),
            facts={name: mapped(value, on_device) for name, value in raw.facts.items()},
        )
        dispatched.off_device.clear()
        batch = there.to("cuda")
        assert batch.image_augmented.device.type == "cuda"
    assert dispatched.off_device == []
