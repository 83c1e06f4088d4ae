"""The sizes were computed by the authors' own functions, and by transformers 5.24.0."""

from dataclasses import replace

import numpy as np
import pytest

from model.described import frame_of, parse_description, presets
from model.described.description import SizeRules
from model.described.sizes import buckets

LOWER = SizeRules(rule="lower", target=(518,), multiple=14)
MINIMAL = SizeRules(rule="minimal", target=(518,), multiple=14)
LONGEST = SizeRules(rule="longest", target=(504,), multiple=14)
MIDAS_3 = SizeRules(rule="minimal", target=(384,), multiple=32)
MIDAS_SMALL = SizeRules(rule="upper", target=(256,), multiple=32)
METRIC3D = SizeRules(rule="fit-and-pad", target=(616, 1064), rounding="floor", pad="mean")
UNIDEPTH = SizeRules(rule="pixels", target=(200_000, 600_000), multiple=14, rounding="ceil")
ZOE_NK = SizeRules(rule="minimal", target=(384, 512), multiple=32, pad="reflect")
ZOE_K = SizeRules(rule="minimal", target=(384, 768), multiple=32, pad="reflect")
MIDAS_PADDED = SizeRules(rule="minimal", target=(384,), multiple=32, pad="reflect")
GLPN = SizeRules(rule="native", multiple=32, rounding="floor")


def tokens(number):
    return SizeRules(rule="tokens", target=(number,), multiple=14)


@pytest.mark.parametrize(
    ("rules", "picture", "expected"),
    [
        (LOWER, "1242x375", "1722x518"),
        (LOWER, "1920x1080", "924x518"),
        (LOWER, "640x480", "686x518"),
        (LOWER, "320x240", "686x518"),
        (LOWER, "640x360", "924x518"),
        (LOWER, "333x777", "518x1204"),
        (LOWER, "375x1242", "518x1722"),
        (MINIMAL, "1242x375", "1722x518"),
        (MINIMAL, "1920x1080", "924x518"),
        (MINIMAL, "640x480", "686x518"),
        (MINIMAL, "320x240", "518x392"),
        (MINIMAL, "640x360", "518x294"),
        (MINIMAL, "333x777", "224x518"),
        (LONGEST, "1242x375", "504x154"),
        (LONGEST, "1920x1080", "504x280"),
        (LONGEST, "640x480", "504x378"),
        (LONGEST, "320x240", "504x378"),
        (LONGEST, "640x360", "504x280"),
        (LONGEST, "333x777", "210x504"),
        (LONGEST, "375x1242", "154x504"),
        (MIDAS_3, "1242x375", "1280x384"),
        (MIDAS_3, "1920x1080", "672x384"),
        (MIDAS_3, "640x480", "512x384"),
        (MIDAS_3, "320x240", "384x288"),
        (MIDAS_3, "375x1242", "384x1280"),
        (MIDAS_PADDED, "640x360", "640x384"),
        (MIDAS_SMALL, "1242x375", "256x64"),
        (MIDAS_SMALL, "1920x1080", "256x128"),
        (MIDAS_SMALL, "640x480", "256x192"),
        (METRIC3D, "1242x375", "1064x321"),
        (METRIC3D, "1920x1080", "1064x598"),
        (METRIC3D, "640x480", "821x616"),
        (METRIC3D, "375x1242", "185x616"),
        (UNIDEPTH, "1242x375", "1232x490"),
        (UNIDEPTH, "1920x1080", "1036x588"),
        (UNIDEPTH, "640x480", "644x490"),
        (UNIDEPTH, "320x240", "518x392"),
        (tokens(1200), "1242x375", "882x266"),
        (tokens(2500), "1242x375", "1274x378"),
        (tokens(3600), "1242x375", "1526x462"),
        (tokens(1200), "1920x1080", "644x364"),
        (tokens(2500), "1920x1080", "938x532"),
        (tokens(3600), "1920x1080", "1120x630"),
        (tokens(1200), "640x480", "560x420"),
        (tokens(2500), "640x480", "812x602"),
        (tokens(3600), "640x480", "966x728"),
        (ZOE_NK, "375x1242", "512x1568"),
        (ZOE_K, "375x1242", "768x2336"),
        (GLPN, "375x1242", "352x1216"),
    ],
)
def test_a_rule_gives_the_size_that_its_authors_program_gives(rules, picture, expected):
    width, height = map(int, picture.split("x"))
    rows, columns = frame_of(rules, height, width).content
    assert f"{columns}x{rows}" == expected


def test_a_picture_that_is_fitted_inside_lies_in_the_middle_of_the_whole_input():
    frame = frame_of(METRIC3D, 375, 1242)
    assert frame.input == (616, 1064)
    assert frame.corner == ((616 - 321) // 2, 0)


@pytest.mark.parametrize("picture", [(1, 1000), (1000, 1), (1, 100_000)])
@pytest.mark.parametrize("name", [name for name in presets() if name != "moge-2"])
def test_a_picture_that_is_all_edge_is_refused_or_stays_within_the_bound(name, picture):
    rules = parse_description({"format": "depth-network/1", "preset": name}).size
    try:
        frame = frame_of(rules, *picture)
    except ValueError as error:
        assert f"{picture[1]}x{picture[0]}" in str(error)  # noqa: PT017 - either is right
    else:
        assert 1 <= frame.input[0] * frame.input[1] <= rules.max_pixels
        assert min(frame.content) >= 1


def test_the_bound_on_pixels_is_named_where_a_picture_passes_it():
    with pytest.raises(ValueError, match=r"518000x518 pixels; expected 4194304 at most \(size"):
        frame_of(LOWER, 1, 1000)
    with pytest.raises(ValueError, match="too narrow"):
        frame_of(MINIMAL, 1, 1000)


USUAL = ["320x240", "640x480", "4032x3024", "3024x4032", "720x480", "1920x1080", "1080x1920", "1242x375"]
IN_BUCKETS = [replace(rules, buckets=24) for rules in (LOWER, MINIMAL, LONGEST, MIDAS_3)]


def content(rules, picture):
    width, height = map(int, picture.split("x"))
    return frame_of(rules, height, width).content


def random_pictures(count=300):
    """Crops of any aspect from 0.4 to 2.5, and of 0.2 to 12 megapixels."""
    chance = np.random.default_rng(0)
    aspects = np.exp(chance.uniform(np.log(0.4), np.log(2.5), count))
    pixels = np.exp(chance.uniform(np.log(2e5), np.log(1.2e7), count))
    return [f"{round((n * a) ** 0.5)}x{round((n / a) ** 0.5)}" for a, n in zip(aspects, pixels, strict=True)]


@pytest.mark.parametrize("rules", IN_BUCKETS)
@pytest.mark.parametrize("picture", USUAL)
def test_with_24_buckets_common_photographs_keep_the_size_of_their_authors(rules, picture):
    assert content(rules, picture) == content(replace(rules, buckets=0), picture)


@pytest.mark.parametrize("count", [16, 24])
@pytest.mark.parametrize("rules", IN_BUCKETS)
def test_pictures_of_any_aspect_share_sizes_and_are_stretched_a_little(rules, count):
    pictures = random_pictures()
    own = [content(replace(rules, buckets=0), picture) for picture in pictures]
    shared = [content(replace(rules, buckets=count), picture) for picture in pictures]
    stretch = np.abs(np.array(shared) / np.array(own) - 1).max(axis=1)
    assert len(set(shared)) <= max(30, len(set(own)) // 2)
    assert len(set(shared)) < 0.75 * len(set(own))
    assert stretch.max() <= 0.08
    assert stretch.mean() < 0.035


def test_a_picture_that_no_bucket_fits_keeps_its_own_size():
    assert content(replace(LOWER, buckets=16), "4000x700") == content(LOWER, "4000x700")


def test_buckets_are_as_many_as_are_asked_for_and_sizes_of_photographs_themselves():
    for count in (1, 4, 16, 24):
        sizes = buckets(replace(LOWER, buckets=count))
        assert len(sizes) == count
        assert all(
            height % 14 == 0 and width % 14 == 0 and min(height, width) == 518 for height, width in sizes
        )


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"rule": "fixed", "target": (384,)}, "one size already"),
        ({"rule": "fit-and-pad", "target": (384,)}, "one size already"),
        ({"rule": "native"}, "keep their own sizes"),
    ],
)
def test_buckets_are_refused_where_there_is_nothing_to_share(rules, said):
    with pytest.raises(ValueError, match=rf"size\.buckets is 16 .*{said}; expected 0"):
        SizeRules(**rules, buckets=16)
    with pytest.raises(ValueError, match=r"size\.buckets is 65; expected 0 to 64"):
        SizeRules(rule="lower", target=(518,), buckets=65)
