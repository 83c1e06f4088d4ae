"""Textures of people and of signs."""

import cv2
import numpy as np

from training.data.synthetic.noise import Colours, Plane, blend, filled, fractal, muted, vary


def person(rng: np.random.Generator, height: int, width: int) -> tuple[Colours, Plane]:
    """Return a standing or walking person, and where the picture is not open."""
    colours = np.zeros((height, width, 3), np.float32)
    cover = np.zeros((height, width), np.float32)
    coat, trousers = muted(rng, 0.05, 0.65), muted(rng, 0.04, 0.35)
    skin = tuple(float(value) for value in np.array((0.75, 0.56, 0.45)) * rng.uniform(0.45, 1.05))
    hair = tuple(float(value) for value in np.array((0.25, 0.17, 0.1)) * rng.uniform(0.2, 1.6))
    stride = rng.uniform(0.02, 0.16)

    def limb(
        start: tuple[float, float], end: tuple[float, float], thick: float, colour: tuple[float, ...]
    ) -> None:
        first = (int(start[0] * width), int(start[1] * height))
        last = (int(end[0] * width), int(end[1] * height))
        cv2.line(colours, first, last, colour, max(int(thick * height), 2))
        cv2.line(cover, first, last, 1.0, max(int(thick * height), 2))

    for side in (-1, 1):
        limb((0.5, 0.52), (0.5 + side * stride, 0.74), 0.085, trousers)
        limb((0.5 + side * stride, 0.74), (0.5 + side * stride * 1.7, 0.95), 0.065, trousers)
        limb(
            (0.5 + side * stride * 1.7, 0.965), (0.56 + side * stride * 1.7, 0.97), 0.035, (0.08, 0.07, 0.06)
        )
        limb((0.5 + side * 0.15, 0.22), (0.5 + side * (0.2 + stride * 0.6), 0.5), 0.05, coat)
        limb((0.5 + side * (0.2 + stride * 0.6), 0.5), (0.5 + side * (0.2 + stride * 0.6), 0.53), 0.04, skin)
    corners = np.array([(0.3, 0.18), (0.7, 0.18), (0.68, 0.56), (0.32, 0.56)]) * (width, height)
    cv2.fillConvexPoly(colours, corners.astype(np.int32), coat)
    cv2.fillConvexPoly(cover, corners.astype(np.int32), 1.0)
    head = (width // 2, int(height * 0.095))
    axes = (int(width * 0.16), int(height * 0.068))
    for canvas, value in ((colours, hair), (cover, 1.0)):
        cv2.ellipse(canvas, head, axes, 0, 0, 360, value, -1)
    cv2.ellipse(
        colours,
        (head[0] + 2, head[1] + height // 60),
        (axes[0] * 3 // 4, axes[1] * 3 // 4),
        0,
        0,
        360,
        skin,
        -1,
    )
    limb((0.5, 0.15), (0.5, 0.19), 0.05, skin)
    # Outside the outline the colour is the coat's, so that far, averaged pictures have no dark rim.
    colours[cover < 0.5] = coat
    return vary(colours, fractal(rng, height, width, cells=(8, 4), falloff=0.9), 0.14), cover


_RED, _BLUE, _YELLOW = (0.72, 0.08, 0.08), (0.08, 0.22, 0.6), (0.9, 0.75, 0.1)


def sign(rng: np.random.Generator, size: int) -> tuple[Colours, Plane]:
    """Return a traffic sign, and where its board is."""
    colours = filled(size, size, (0.9, 0.9, 0.9))
    cover = np.zeros((size, size), np.float32)
    middle, radius = (size // 2, size // 2), size // 2 - 2
    form = int(rng.integers(5))
    if form == 0:
        cv2.circle(cover, middle, radius, 1.0, -1)
        cv2.circle(colours, middle, radius - size // 12, _RED, size // 6)
        number = str(rng.choice(["30", "50", "70"]))
        colours = _lettered(colours, number, (size // 5, size * 5 // 8), size / 70, 0.05)
    elif form == 1:
        points = np.array([(0.03, 0.92), (0.97, 0.92), (0.5, 0.06)]) * size
        cv2.fillConvexPoly(cover, points.astype(np.int32), 1.0)
        cv2.polylines(colours, [points.astype(np.int32)], True, _RED, size // 6)
    elif form == 2:
        cv2.circle(cover, middle, radius, 1.0, -1)
        colours[:] = _BLUE
        cv2.arrowedLine(colours, (size // 2, size * 3 // 4), (size // 2, size // 4), (0.95,) * 3, size // 10)
    elif form == 3:
        points = np.array([(0.5, 0.02), (0.98, 0.5), (0.5, 0.98), (0.02, 0.5)]) * size
        cv2.fillConvexPoly(cover, points.astype(np.int32), 1.0)
        inner = (points - size / 2) * 0.68 + size / 2
        cv2.fillConvexPoly(colours, inner.astype(np.int32), _YELLOW)
    else:
        cover[2:-2, 2:-2] = 1
        colours[:] = _BLUE
        colours = _lettered(colours, "P", (size // 4, size * 4 // 5), size / 36, 0.95)
    return colours, cover


def _lettered(colours: Colours, text: str, foot: tuple[int, int], scale: float, tone: float) -> Colours:
    """Write on a sign; OpenCV writes on bytes only."""
    canvas = np.zeros(colours.shape[:2], np.uint8)
    cv2.putText(
        canvas, text, foot, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, max(colours.shape[0] // 16, 1), cv2.LINE_AA
    )
    return blend(colours, (tone, tone, tone), canvas.astype(np.float32) / 255)


def board(rng: np.random.Generator, height: int, width: int) -> Colours:
    """Return an advertisement or a direction board."""
    colours = filled(height, width, muted(rng, 0.1, 0.95))
    for _ in range(5):
        x, y = int(rng.uniform(0, width * 0.8)), int(rng.uniform(0, height * 0.8))
        colour = tuple(float(value) for value in rng.uniform(0.05, 0.95, 3))
        cv2.rectangle(colours, (x, y), (x + int(width * 0.25), y + int(height * 0.2)), colour, -1)
    colours[:3] = colours[-3:] = 0.2
    colours[:, :3] = colours[:, -3:] = 0.2
    return colours
