from pathlib import Path

from model.footage import natural_key


def test_names_come_in_the_order_in_which_people_count():
    names = ["frame10.png", "frame1.png", "a.png", "frame01.png", "frame2.png", "frame2b.png", "7.png"]
    assert [path.name for path in sorted(map(Path, names), key=natural_key)] == [
        "7.png", "a.png", "frame01.png", "frame1.png", "frame2.png", "frame2b.png", "frame10.png",
    ]  # fmt: skip
