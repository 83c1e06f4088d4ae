"""Distances to points, boxes and polygons."""

import json

import numpy as np
import pytest

from service.codec.regions import measure_regions
from service.contract.errors import InvalidArgument
from service.contract.regions import MOST_REGIONS, Distances, Regions, distances_of, regions_of
from service.contract.request import Intrinsics

HEIGHT, WIDTH = 60, 90
DEPTH = np.random.default_rng(0).uniform(2, 40, (HEIGHT, WIDTH)).astype(np.float32)
LENS = Intrinsics(fx_px=80, fy_px=70, cx_px=44, cy_px=31)


def measured(depth: np.ndarray = DEPTH, lens: Intrinsics | None = LENS, **regions: object) -> Distances:
    return measure_regions(depth, Regions(**regions), (HEIGHT, WIDTH), lens)


def test_a_box_has_the_figures_of_its_part_of_the_map() -> None:
    (found,) = measured(boxes=((10, 20, 30, 50),)).boxes
    part = DEPTH[20:50, 10:30]
    assert (found.p10, found.median, found.p90) == pytest.approx(np.quantile(part, (0.1, 0.5, 0.9)))
    assert (found.nearest, found.share) == (part.min(), 1.0)
    x = (np.arange(10, 30) + 0.5 - 44) / 80 * part
    y = (np.arange(20, 50) + 0.5 - 31)[:, None] / 70 * part
    assert found.xyz == pytest.approx((x.mean(), y.mean(), part.mean()), rel=1e-5)


def test_a_pixel_counts_where_its_centre_lies_inside_and_one_always_does() -> None:
    (found,) = measured(boxes=((9.6, 19.4, 12.5, 21.5),)).boxes
    assert found.nearest == DEPTH[19:21, 10:12].min()
    (thin,) = measured(boxes=((10.6, 20.6, 10.7, 20.7),)).boxes
    assert thin.nearest == thin.p90
    assert thin.nearest in DEPTH[20:22, 10:12]


def test_a_point_is_the_pixel_that_it_lies_in() -> None:
    (found,) = measured(points=((10.9, 20.1),)).points
    assert found.median == found.nearest == DEPTH[20, 10]


def test_a_polygon_holds_what_lies_inside_by_the_even_odd_rule() -> None:
    box = ((10, 20), (30, 20), (30, 50), (10, 50))
    as_polygon, as_box = measured(polygons=(box,)).polygons, measured(boxes=((10, 20, 30, 50),)).boxes
    assert as_polygon == as_box
    (triangle,) = measured(polygons=(((0, 0), (40, 0), (0, 40)),)).polygons
    rows, columns = np.indices((HEIGHT, WIDTH)) + 0.5
    assert triangle.median == pytest.approx(np.median(DEPTH[rows + columns < 40]))


def test_what_has_no_depth_is_left_out_and_said() -> None:
    depth = DEPTH.copy()
    depth[20:50, 10:25] = np.nan
    half, none = measured(depth, boxes=((10, 20, 30, 50), (10, 20, 20, 30))).boxes
    assert half.share == 0.25
    assert half.median == pytest.approx(np.median(DEPTH[20:50, 25:30]))
    assert (none.share, none.median, none.xyz) == (0.0, None, None)


def test_without_a_lens_there_is_no_middle_in_space() -> None:
    assert measured(lens=None, boxes=((10, 20, 30, 50),)).boxes[0].xyz is None


def test_a_map_of_another_size_is_measured_at_the_same_places() -> None:
    small = measure_regions(DEPTH[::2, ::2], Regions(boxes=((10, 20, 30, 50),)), (HEIGHT, WIDTH), None)
    assert small.boxes[0].nearest == DEPTH[20:50:2, 10:30:2].min()


@pytest.mark.parametrize(
    ("regions", "says"),
    [
        ({"boxes": "[[1, 2, 3, 4], [5, 2, 3, 4]]"}, r"boxes\[1\] is \[5.0, 2.0, 3.0, 4.0\]; expected \[left"),
        ({"boxes": "[[1, 2, 3]]"}, r"boxes\[0\] is \[1, 2, 3\]; expected 4 numbers"),
        ({"boxes": "[[1, 2, 3, true]]"}, r"boxes\[0\]"),
        ({"boxes": "[[0, 0, 1, Infinity]]"}, r"boxes\[0\]"),
        ({"points": "[[1, 2], 3]"}, r"points\[1\] is 3; expected 2 numbers"),
        ({"polygons": "[[[1, 2], [3, 4]]]"}, r"polygons\[0\] has 2 corners; expected at least 3"),
        ({"polygons": "[[[1, 2], [3, 4], [5]]]"}, r"polygons\[0\] is \[5\]"),
        ({"boxes": "12"}, "boxes is '12'; expected a JSON list"),
        ({"boxes": json.dumps([[0, 0, 1, 1]] * (MOST_REGIONS + 1))}, "expected at most 256"),
        ({"polygons": json.dumps([[[0, 0]] * 2000])}, "2000 corners; expected at most 1024"),
    ],
)
def test_a_bad_region_is_named_by_its_place(regions: dict, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        regions_of(regions)


def test_a_region_outside_is_named_by_its_place() -> None:
    with pytest.raises(InvalidArgument, match=r"boxes\[1\] lies outside, .*picture's 90x60"):
        measured(boxes=((0, 0, 5, 5), (90, 0, 95, 5)))
    with pytest.raises(InvalidArgument, match=r"points\[0\] lies outside"):
        measured(points=((5, 60),))


def test_distances_survive_their_json_but_for_half_a_thousandth() -> None:
    before = measured(boxes=((10, 20, 30, 50), (0, 0, 4, 4)), points=((1, 1),))
    after = distances_of(before.to_json())
    for one, other in zip(before.boxes + before.points, after.boxes + after.points, strict=True):
        assert other.median == pytest.approx(one.median, rel=5e-4)
        assert other.nearest == pytest.approx(one.nearest, rel=5e-4)


def test_twenty_boxes_are_below_2_kb() -> None:
    boxes = tuple((4 * index, 5, 4 * index + 6, 50) for index in range(20))
    assert len(json.dumps(measured(boxes=boxes).to_json(), separators=(",", ":"))) < 2000
