"""Which size a picture gets in a network's input, by the rules that published networks have."""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from model.described.description import SizeRules

_REFLECTED = 3
"""ZoeDepth mirrors so many times sqrt(side / 2) pixels on each side."""
_LONG = 2.5
"""UniDepth pads pictures that are wider or taller than this, times the other side."""
_MOST_STRETCH = 0.08
"""Of a side, by a bucket: a picture that none fits so well keeps its own size."""
_COMMON = (
    *((240, 320), (480, 640), (600, 800), (768, 1024), (960, 1280), (1536, 2048), (3024, 4032), (1024, 1280)),
    *((480, 720), (720, 1080), (2000, 3000), (4000, 6000), (1280, 1920), (800, 1280), (1200, 1920)),
    *((360, 640), (480, 854), (720, 1280), (1080, 1920), (2160, 3840), (1080, 2340), (1080, 2400)),
    *((640, 640), (1080, 1080), (1080, 1350), (1024, 2048), (1080, 2560), (375, 1242), (370, 1226)),
)
"""Height and width of photographs as cameras, telephones, videos and data sets have them; upright, too."""
_CROPS = tuple(
    (round(1000 / math.sqrt(aspect)), round(1000 * math.sqrt(aspect)))
    for aspect in np.geomspace(0.4, 2.5, 49)
)
_CROP_SHARE = 0.25
"""How much a crop, of any aspect between these, counts beside a common photograph."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where a picture lies in a network's input; all in pixels, height before width."""

    picture: tuple[int, int]
    """As it came."""
    before: tuple[int, int] = (0, 0)
    """Rows and columns that are added on each side before the resize."""
    content: tuple[int, int]
    """What the picture, with those, is resized to."""
    corner: tuple[int, int] = (0, 0)
    """Where that lies in the input: its first row and column."""
    input: tuple[int, int]
    """The network's."""

    @property
    def inside(self) -> tuple[int, int]:
        """The size of the picture alone within the content, to whole pixels."""
        height, width = (
            max(1, round(content * side / (side + 2 * before)))
            for content, side, before in zip(self.content, self.picture, self.before, strict=True)
        )
        return height, width


def frame_of(rules: SizeRules, height: int, width: int) -> Frame:
    """Return where a picture of this size lies in the input.

    Raises:
        ValueError: A side would be 0, or there would be too many pixels; nothing was allocated.
    """
    before = _before(rules, height, width)
    padded = height + 2 * before[0], width + 2 * before[1]
    stretched = rules.rule == "fixed" or rules.aspect == "stretch"
    content = _two(rules.target) if stretched else _RULES[rules.rule](rules, *padded)
    if rules.buckets:
        content = _bucket(rules, content)
    inside = content
    if not stretched and rules.rule == "fit-and-pad":
        content = _two(rules.target)
    for which, (rows, columns) in (("the resized picture", inside), ("the input", content)):
        if rows < 1 or columns < 1:
            raise ValueError(
                f"a picture of {width}x{height} pixels is too narrow for this network: {which} would be "
                f"{columns}x{rows} (size.rule {rules.rule!r})"
            )
        if rows * columns > rules.max_pixels:
            raise ValueError(
                f"a picture of {width}x{height} pixels gives this network {columns}x{rows} pixels; expected "
                f"{rules.max_pixels} at most (size.max_pixels of its description)"
            )
    corner = (content[0] - inside[0]) // 2, (content[1] - inside[1]) // 2
    return Frame(picture=(height, width), before=before, content=inside, corner=corner, input=content)


@cache
def buckets(rules: SizeRules) -> tuple[tuple[int, int], ...]:
    """Return the sizes that photographs share: those of common ones, from which others are the least away.

    Sizes are chosen one by one, each the one that helps most, and then exchanged as long as that helps.
    """
    own = replace(rules, buckets=0)
    wanted: defaultdict[tuple[int, int], float] = defaultdict(float)
    shares = dict.fromkeys(_CROPS, _CROP_SHARE) | dict.fromkeys(_COMMON, 1.0)
    shares |= {(width, height): share for (height, width), share in shares.items()}
    for (height, width), share in shares.items():
        try:
            wanted[frame_of(own, height, width).content] += share
        except ValueError:  # the network cannot see such a picture
            continue
    sizes = sorted(wanted)
    logs = np.log(np.array(sizes, np.float64).reshape(-1, 2))
    apart = np.abs(logs[:, None] - logs[None]).max(axis=2)
    counts = np.array([wanted[size] for size in sizes], np.float64)
    chosen: list[int] = []

    def best(kept: list[int]) -> int:
        nearest = apart[:, kept].min(axis=1) if kept else np.full(len(sizes), np.inf)
        return int((np.minimum(apart, nearest[:, None]) * counts[:, None]).sum(axis=0).argmin())

    for _ in range(min(rules.buckets, len(sizes))):
        chosen.append(best(chosen))
    for _ in range(len(sizes)):
        before = list(chosen)
        for place in range(len(chosen)):
            chosen[place] = best([*chosen[:place], *chosen[place + 1 :]])
        if chosen == before:
            break
    return tuple(sizes[index] for index in sorted(set(chosen)))


def _bucket(rules: SizeRules, content: tuple[int, int]) -> tuple[int, int]:
    def stretch(size: tuple[int, int]) -> float:
        if min(content) < 1:
            return math.inf
        return max(abs(side / own - 1) for side, own in zip(size, content, strict=True))

    nearest = min(buckets(rules), key=stretch, default=content)
    return nearest if stretch(nearest) <= _MOST_STRETCH else content


def _before(rules: SizeRules, height: int, width: int) -> tuple[int, int]:
    if rules.pad == "reflect":
        rows, columns = (int(_REFLECTED * math.sqrt(side / 2)) for side in (height, width))
        return min(rows, height - 1), min(columns, width - 1)
    if rules.rule == "pixels":
        return max(0, int(width / _LONG) - height) // 2, max(0, int(height / _LONG) - width) // 2
    return 0, 0


def _two(target: tuple[int, ...]) -> tuple[int, int]:
    return target[0], target[-1]


def _scaled(rules: SizeRules, height: int, width: int) -> tuple[int, int]:
    """Keep the aspect: by the larger, the smaller, or the milder of the two changes."""
    rows, columns = _two(rules.target)
    down, across = rows / height, columns / width
    match rules.rule:
        case "lower":
            scale, least, most = max(down, across), (rows, columns), None
        case "upper":
            scale, least, most = min(down, across), (0, 0), (rows, columns)
        case _:
            scale, least, most = across if abs(1 - across) < abs(1 - down) else down, (0, 0), None
    new_height, new_width = (
        _multiple(rules, side * scale, low, high)
        for side, low, high in zip((height, width), least, most or (None, None), strict=True)
    )
    return new_height, new_width


def _longest(rules: SizeRules, height: int, width: int) -> tuple[int, int]:
    """The longest side to the target, then each side by itself to the nearest multiple."""
    scale = rules.target[0] / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    return _nearest(rows, rules.multiple), _nearest(columns, rules.multiple)


def _nearest(side: int, multiple: int) -> int:
    """Upwards where two are as near; never 0."""
    return max(multiple, (2 * side + multiple) // (2 * multiple) * multiple)


def _pixels(rules: SizeRules, height: int, width: int) -> tuple[int, int]:
    least, most = rules.target
    wanted = min(max(height * width, least), most)
    scale = math.sqrt(wanted / (height * width))
    return _multiple(rules, height * scale), _multiple(rules, width * scale)


def _tokens(rules: SizeRules, height: int, width: int) -> tuple[int, int]:
    rows, columns = (round(math.sqrt(rules.target[0] * ratio)) for ratio in (height / width, width / height))
    return rows * rules.multiple, columns * rules.multiple


def _inside(rules: SizeRules, height: int, width: int) -> tuple[int, int]:
    rows, columns = _two(rules.target)
    scale = min(rows / height, columns / width)
    return _multiple(rules, height * scale, most=rows), _multiple(rules, width * scale, most=columns)


def _native(rules: SizeRules, height: int, width: int) -> tuple[int, int]:
    return _multiple(rules, height), _multiple(rules, width)


_RULES: dict[str, Callable[[SizeRules, int, int], tuple[int, int]]] = {
    "lower": _scaled,
    "upper": _scaled,
    "minimal": _scaled,
    "longest": _longest,
    "pixels": _pixels,
    "tokens": _tokens,
    "fit-and-pad": _inside,
    "native": _native,
}
_ROUNDING: dict[Literal["nearest", "floor", "ceil"], Callable[[float], int]] = {
    "nearest": round,  # ties to even, as NumPy and Python have it
    "floor": math.floor,
    "ceil": math.ceil,
}
_SLACK = 1e-9
"""Of a side: what floating point adds to a whole number, or takes from it, is no fraction."""


def _multiple(rules: SizeRules, side: float, least: int = 0, most: int | None = None) -> int:
    """Round to a multiple; the other way where that passes a bound."""
    times = side / rules.multiple
    if abs(times - round(times)) < _SLACK * max(1.0, times):
        times = round(times)
    rounded = _ROUNDING[rules.rounding](times) * rules.multiple
    if most is not None and rounded > most:
        rounded = math.floor(times) * rules.multiple
    if rounded < least:
        rounded = math.ceil(times) * rules.multiple
    return rounded
