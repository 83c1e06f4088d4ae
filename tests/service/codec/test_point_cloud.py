import pytest

from service.codec.point_cloud import intrinsics_of
from service.contract.request import FieldOfView


def test_a_field_of_view_looks_through_the_middle_in_plain_numbers() -> None:
    lens = intrinsics_of(FieldOfView(horizontal_deg=90), height=40, width=100)
    assert (lens.fx_px, lens.cx_px, lens.cy_px) == (pytest.approx(50), 50.0, 20.0)
    assert lens.fy_px == lens.fx_px
    assert type(lens.fx_px) is float  # NumPy's own would be written out as np.float64(50.0)
