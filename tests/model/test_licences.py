import pytest

from model.licences import conditions, looser, strictest

KITTI = "CC BY-NC-SA 3.0 (trained on KITTI): non-commercial; see NOTICE"


@pytest.mark.parametrize(
    ("licence", "asks"),
    [
        (KITTI, {"non-commercial", "share-alike"}),
        ("CC BY-NC 4.0", {"non-commercial"}),
        ("AGPL-3.0", {"share-alike"}),
        ("Apache-2.0", set()),
        ("MIT", set()),
        ("my own", set()),
        ("", set()),
        ("of the sand once and for all", set()),
    ],
)
def test_conditions_are_read_from_the_usual_names(licence, asks):
    assert conditions(licence) == asks


def test_the_strictest_licence_is_inherited():
    assert strictest(["Apache-2.0", KITTI, "CC BY-NC 4.0", ""]) == KITTI
    assert strictest(["", ""]) == ""


def test_a_licence_is_looser_by_what_it_leaves_out():
    assert looser("my own", KITTI) == {"non-commercial", "share-alike"}
    assert looser("CC BY-NC 4.0", KITTI) == {"share-alike"}
    assert not looser(KITTI, "CC BY-NC 4.0")
    assert not looser("my own", "Apache-2.0")
