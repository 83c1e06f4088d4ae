#!/bin/sh
# PyAV's VideoFrame.rotation says 180 degrees of a video that is mirrored from left to right, as it does of one that
# stands on its head: who turns frames by it shows mirrored videos upside down. The display matrix in the frame's side
# data tells the two apart.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import av
import numpy
from av.sidedata.sidedata import Type

ONE = 1 << 16
said = {}
for name, matrix in {
    "mirrored": (-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30),
    "upside down": (-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30),
}.items():
    with av.open("film.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_matrix(matrix)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(numpy.zeros((48, 64, 3), numpy.uint8), "rgb24")))
        container.mux(stream.encode(None))
    with av.open("film.mp4") as container:
        frame = next(container.decode(video=0))
    stated = numpy.frombuffer(bytes(frame.side_data.get(Type.DISPLAYMATRIX)), numpy.int32)
    said[name] = (abs(frame.rotation), bool((stated == matrix).all()))
print("PyAV", av.__version__, said)
assert said == {"mirrored": (180, True), "upside down": (180, True)}, "PyAV behaves differently now"
PYTHON
