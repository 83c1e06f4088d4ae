import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from model.config import PRESETS, FoundationConfig, preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_carries_its_own_name(name: str) -> None:
    assert preset(name).name == name


def test_an_override_replaces_one_field_and_nothing_else() -> None:
    assert preset("student", height=320, width=1024) == replace(PRESETS["student"], height=320, width=1024)


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no preset 'huge'; expected one of teacher, student"):
        preset("huge")


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ({"height": 100}, "height is 100"),
        ({"width": 0}, "width is 0"),
        ({"min_depth": 0.0}, "min_depth is 0.0"),
        ({"min_depth": 200.0}, "max_depth 100.0"),
        ({"categories": 1}, "categories is 1"),
        ({"foundation": FoundationConfig()}, "a student has no foundation model"),
        ({"aggregation": "concat"}, "aggregation is 'concat'"),
        ({"aggregation_width": 30}, "aggregation_width is 30"),
    ],
)
def test_a_bad_value_is_named_in_the_error(override: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError) as caught:
        preset("student", **override)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("decoder_channels=(1, 2, 3, 4)", "decoder_channels is (1, 2, 3, 4)"),
        ("aggregation='mean'", "aggregation is 'mean'"),
        ("role='pupil'", "role is 'pupil'"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_where_no_type_checker_runs(override: str, named: str) -> None:
    """In a process of its own: here the suite's type checks would answer first."""
    program = f"from model.config import preset; preset('student', {override})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"ValueError: {named}" in done.stderr


@pytest.mark.parametrize("blocks", [(1, 2, 3), (0, 1, 2, 3), (3, 2, 5, 6)])
def test_blocks_that_cannot_give_four_grids_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"foundation\.blocks is"):
        FoundationConfig(blocks=blocks)
