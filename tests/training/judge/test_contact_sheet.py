"""The sheet of the best and the worst, looked at pixel by pixel."""

import cv2
import numpy as np

from training.judge.colour import MISSING, colour_depth, table
from training.judge.contact_sheet import CELL_WIDTH_PX, SheetRow, contact_sheet, encode_png

HEIGHT, WIDTH = 120, 480


def row(truth_m: np.ndarray, depth_m: np.ndarray) -> SheetRow:
    image = np.full((HEIGHT, WIDTH, 3), (10, 200, 30), np.uint8)
    counted = truth_m > 0
    return SheetRow(caption="a frame", image=image, depth_m=depth_m, truth_m=truth_m, counted=counted)


def cells(sheet: np.ndarray) -> list[np.ndarray]:
    """The four pictures of the only row."""
    last = sheet[-HEIGHT:]
    return [last[:, at * CELL_WIDTH_PX : (at + 1) * CELL_WIDTH_PX] for at in range(4)]


def constant(value: float) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), value, np.float32)


def test_a_row_shows_photograph_depth_truth_and_error():
    photograph, depth, truth, error = cells(contact_sheet("t", [row(constant(10), constant(15))], 80.0))
    assert (photograph == (10, 200, 30)).all()
    assert (depth == colour_depth(constant(15), 2.0, 80.0)).all()
    assert (truth == colour_depth(constant(10), 2.0, 80.0)).all()
    assert (error == table()[-1]).all()  # a relative error of 0.5 is the lightest


def test_a_perfect_prediction_has_a_dark_error():
    *_, error = cells(contact_sheet("t", [row(constant(10), constant(10))], 80.0))
    assert (error == table()[0]).all()


def test_single_measurements_are_thickened_and_the_rest_is_grey():
    truth = np.zeros((HEIGHT, WIDTH), np.float32)
    truth[60, 100] = 10.0
    truth[60, 102] = 5.0
    _, _, drawn, error = cells(contact_sheet("t", [row(truth, constant(10))], 80.0))
    near = colour_depth(np.array([[5.0]]), 2.0, 80.0)[0, 0]
    assert (drawn[60, 101] == near).all()  # between the two, the nearer one is seen
    for row_at, column_at in ((10, 10), (0, 0), (HEIGHT - 1, WIDTH - 1)):
        assert (drawn[row_at, column_at] == MISSING).all()
        assert (error[row_at, column_at] == MISSING).all()
    assert (error[60, 102] == table()[-1]).all()


def test_ground_truth_of_another_size_fills_its_cell():
    small = np.full((21, 305), 10, np.float32)
    *_, truth, _ = cells(contact_sheet("t", [row(small, small)], 80.0))
    assert (truth == colour_depth(constant(10), 2.0, 80.0)).all()


def test_rows_lie_below_each_other_and_png_keeps_them():
    one = contact_sheet("t", [row(constant(10), constant(15))], 80.0)
    two = contact_sheet("t", [row(constant(10), constant(15))] * 2, 80.0)
    assert two.shape[0] - one.shape[0] > HEIGHT
    decoded = cv2.imdecode(np.frombuffer(encode_png(two), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(decoded, two)
