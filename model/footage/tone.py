"""HDR to what a photograph shows: ITU-R BT.2100's PQ and HLG, in BT.2020's primaries, to BT.709.

What is up to half of reference white stays as it is, so that a street in HDR looks as the same street in SDR
does; what is brighter is compressed, hues kept. It knows numpy alone, and no files.
"""

import numpy as np
import numpy.typing as npt

PQ, HLG = 16, 18
"""Transfer characteristics by their numbers in ITU-T H.273."""
HDR = (PQ, HLG)

_WHITE_NITS = 203.0
"""Reference white (ITU-R BT.2408): the brightness of paper, which SDR shows as its own white."""
_PEAK_NITS = 1000.0
_KNEE = 0.5
_STEPS = 4096
"""12 bits of the signal are looked at; files have 10."""
_TO_709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
    np.float32,
)
"""Linear light of BT.2020's primaries to that of BT.709's (ITU-R BT.2087)."""
_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)

Light = npt.NDArray[np.float32]


def tone_mapped(rgb: npt.NDArray[np.uint16], transfer: int) -> npt.NDArray[np.uint8]:
    """Return 8 bit RGB, height, width, 3, of an HDR frame's 16 bit RGB of the same shape.

    Args:
        rgb: Non-linear, full range.
        transfer: `PQ` or `HLG`.
    """
    light = _LIGHT[transfer][rgb >> 4]
    if transfer == HLG:  # the display's part: BT.2100's OOTF of a display of 1000 nits
        light = light * (_PEAK_NITS / _WHITE_NITS * np.maximum(light @ _LUMA, 1e-6)[..., None] ** 0.2)
    light = np.maximum(light @ _TO_709.T, 0)
    brightest = light.max(axis=-1, keepdims=True)
    light = light * (_compressed(brightest) / np.maximum(brightest, 1e-6))
    shown: npt.NDArray[np.uint8] = _SHOWN[(np.minimum(light, 1) * 65535 + 0.5).astype(np.uint16)]
    return shown


def _compressed(light: Light) -> Light:
    """Leave what is below the knee, and bend the rest towards white without reaching it."""
    above = (light - _KNEE) / (1 - _KNEE)
    bent = _KNEE + (1 - _KNEE) * (1 - np.exp(-np.maximum(above, 0)))
    return np.where(light > _KNEE, bent, light).astype(np.float32)


def _pq(signal: Light) -> Light:
    """Return light relative to reference white (SMPTE ST 2084)."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = signal ** (1 / m2)
    nits: Light = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return nits / np.float32(_WHITE_NITS)


def _hlg(signal: Light) -> Light:
    """Return the scene's light from 0 to 1 (ARIB STD-B67)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    low = signal**2 / 3
    high = (np.exp((signal - c) / a) + b) / 12
    return np.where(signal <= 0.5, low, high).astype(np.float32)


_SIGNAL = np.linspace(0, 1, _STEPS, dtype=np.float32)
_LIGHT = {PQ: _pq(_SIGNAL), HLG: _hlg(_SIGNAL)}
_SHOWN = np.round(255 * np.linspace(0, 1, 65536) ** (1 / 2.4)).astype(np.uint8)
"""The signal at which a display of ITU-R BT.1886 gives that light."""
