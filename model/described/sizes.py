"""Which size a picture gets in a network's input, by the rules that published networks have."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from model.described.description import SizeRules

_REFLECTED = 3
"""ZoeDepth mirrors so many times sqrt(side / 2) pixels on each side."""
_LONG = 2.5
"""UniDepth pads pictures that are wider or taller than this, times the other side."""


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
