import hashlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from model.checksums import file_sha256
from model.config import preset
from model.metadata import (
    FORMAT_VERSION,
    METADATA_KEY,
    Accuracy,
    CheckpointError,
    CheckpointMetadata,
    DepthScale,
    Parent,
    Provenance,
    read_metadata,
)

FULL = CheckpointMetadata(
    config=preset("tiny-teacher"),
    scale=DepthScale(unit="metre", metres_per_unit=5.4, fy_per_height=1.92),
    provenance=Provenance(
        data=("kitti raw: 39,810 frames", "a drive of our own"),
        recipe="distil --steps 100",
        steps=100,
        seed=7,
        commit="de8b5b2",
        parents=(Parent(role="teacher", sha256="ab" * 32),),
        trained_on="2025-11-23",
        hours=1.5,
        notes="Größe 640×192",
    ),
    accuracy=(
        Accuracy(
            protocol="kitti_eigen",
            alignment="median",
            data="697 images",
            images=697,
            abs_rel=0.1,
            sq_rel=0.7,
            rmse=4.4,
            rmse_log=0.18,
            delta1=0.9,
            delta2=0.96,
            delta3=0.98,
        ),
    ),
    licence="CC-BY-NC-4.0",
    foundation_sha256="cd" * 32,
)


def safetensors_file(path, fields, data=b""):
    """Write a safetensors file by hand: the header's length, the header, the data."""
    header = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


def described(path, change=lambda fields: None):
    """Write a checkpoint without weights whose description was changed."""
    fields = json.loads(FULL.to_json())
    change(fields)
    return safetensors_file(path, {"__metadata__": {METADATA_KEY: json.dumps(fields)}})


def problem(path):
    with pytest.raises(CheckpointError) as caught:
        read_metadata(path)
    assert caught.value.path == path
    assert str(caught.value) == f"{path}: {caught.value.problem}"
    return caught.value.problem


def test_a_description_survives_the_way_through_its_file(tmp_path):
    assert read_metadata(described(tmp_path / "a.safetensors")) == FULL


def test_the_shortest_description_survives_json():
    shortest = CheckpointMetadata(config=preset("tiny"))
    assert CheckpointMetadata.from_json(shortest.to_json()) == shortest


def test_fields_that_a_file_does_not_know_yet_have_their_defaults(tmp_path):
    path = described(tmp_path / "old.safetensors", lambda fields: fields.pop("licence"))
    assert read_metadata(path) == replace(FULL, licence="")


def test_a_metric_scale_multiplies_depth_and_a_relative_one_does_not():
    assert DepthScale(unit="metre", metres_per_unit=5.4).factor == 5.4
    assert DepthScale().factor == 1.0


@pytest.mark.parametrize(
    ("unit", "metres"), [("metre", None), ("metre", 0.0), ("metre", -2.0), ("relative", 5.4)]
)
def test_a_scale_that_contradicts_itself_is_refused(unit, metres):
    with pytest.raises(ValueError, match="metres_per_unit"):
        DepthScale(unit=unit, metres_per_unit=metres)


def test_a_description_that_json_cannot_hold_is_refused_before_it_is_written():
    with pytest.raises(ValueError, match="JSON"):
        CheckpointMetadata(config=preset("tiny"), provenance=Provenance(hours=float("nan"))).to_json()


def test_a_missing_file_a_folder_and_an_empty_file_are_told_apart(tmp_path):
    empty = tmp_path / "empty.safetensors"
    empty.touch()
    assert "No such file" in problem(tmp_path / "none.safetensors")
    assert "directory" in problem(tmp_path)
    assert problem(empty) == "the file is empty"


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"PK\x03\x04 a pickled torch file", b"\x80\x02" * 40])
def test_another_kind_of_file_is_called_so(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    assert "not a safetensors file" in problem(path)


def test_a_safetensors_file_of_somebody_else_is_called_so(tmp_path):
    assert "not a checkpoint of ours" in problem(safetensors_file(tmp_path / "a", {}))
    assert "not a checkpoint of ours" in problem(
        safetensors_file(tmp_path / "b", {"__metadata__": {"format": "pt"}})
    )


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "fields",
    [
        b'{"a": ',
        b"{" + b"\xff" * 20 + b"}",
        b'{"a":' * 1000,
        b"[1, 2, 3]",
        {"a": 1},
        {"a": ONE | {"dtype": "F31"}},
        {"a": ONE | {"dtype": ["F32"]}},
        {"a": ONE | {"shape": [-2]}},
        {"a": ONE | {"shape": [True, 2]}},
        {"a": ONE | {"shape": [3]}},
        {"a": ONE | {"shape": [2**63, 2**63]}},
        {"a": ONE | {"data_offsets": [8, 0]}},
        {"a": ONE | {"data_offsets": [0, 8, 16]}},
        {"a": ONE | {"data_offsets": [4, 12]}},  # a gap
        {"a": ONE, "b": ONE},  # an overlap
        {"a": ONE, "b": ONE | {"data_offsets": [8, 16]}},  # truncated
        {},  # trailing bytes
        {"a": ONE, "__metadata__": {"n": 1}},
        {"a": ONE, "__metadata__": []},
    ],
)
def test_a_header_whose_claims_do_not_hold_is_refused(tmp_path, fields):
    if isinstance(fields, dict):
        fields = {"__metadata__": {METADATA_KEY: FULL.to_json()}} | fields
    assert "damaged, or not a safetensors file" in problem(safetensors_file(tmp_path / "a", fields, bytes(8)))


@pytest.mark.parametrize("header_bytes", [99_000_000, 2**63])
def test_a_header_that_claims_more_than_the_file_holds_is_refused(tmp_path, header_bytes):
    path = tmp_path / "a"
    path.write_bytes(header_bytes.to_bytes(8, "little") + b"{}")
    assert "damaged, or not a safetensors file" in problem(path)


def test_every_truncation_of_a_checkpoint_is_refused(tmp_path):
    fields = {"__metadata__": {METADATA_KEY: FULL.to_json()}, "a": ONE}
    whole = safetensors_file(tmp_path / "whole", fields, data=bytes(8)).read_bytes()
    part = tmp_path / "part"
    for length in range(len(whole)):
        part.write_bytes(whole[:length])
        problem(part)
    part.write_bytes(whole)
    assert read_metadata(part) == FULL


def test_a_newer_version_is_refused_before_its_fields_are_judged(tmp_path):
    def renew(fields):
        fields.clear()
        fields.update(format_version=FORMAT_VERSION + 1, new="things")

    assert "newer than this program, which reads up to 2" in problem(described(tmp_path / "a", renew))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.pop("format_version"), "format_version must be a natural number, not None"),
        (lambda f: f.update(format_version="1"), "format_version must be a natural number, not '1'"),
        (lambda f: f.pop("config"), "metadata.config is missing"),
        (lambda f: f.update(colour="red"), "metadata has no field 'colour'"),
        (lambda f: f.update(licence=3), "metadata.licence must be of type str, not 3"),
        (lambda f: f.update(scale=None), "metadata.scale must be an object, not None"),
        (
            lambda f: f["scale"].update(unit="foot"),
            "scale.unit must be one of 'metre', 'relative', not 'foot'",
        ),
        (lambda f: f["scale"].update(metres_per_unit=-1), "metres_per_unit must be a positive number"),
        (lambda f: f["scale"].update(fy_per_height=0.0), "scale.fy_per_height must be a positive number"),
        (
            lambda f: f.update(scale={"unit": "relative", "fy_per_height": 1.92}),
            "belongs to metres; it is 1.92 and the unit is 'relative'",
        ),
        (lambda f: f["scale"].update(affine=True), "scale.affine is True and scale.unit is 'metre'"),
        (lambda f: f["scale"].update(metres_per_unit=float("nan")), "metres_per_unit must be finite"),
        (lambda f: f["provenance"].update(steps=True), "provenance.steps must be of type int, not True"),
        (lambda f: f["provenance"].update(data="kitti"), "provenance.data must be a list, not 'kitti'"),
        (lambda f: f["provenance"]["parents"][0].pop("sha256"), "parents[0].sha256 is missing"),
        (lambda f: f["accuracy"][0].update(abs_rel="0.1"), "accuracy[0].abs_rel must be of type float"),
        (lambda f: f["config"].update(height=100), "height"),
        (lambda f: f["config"].update(decoder_channels=[1, 2]), "decoder_channels must have 5 items, not 2"),
        (lambda f: f["config"].update(aggregation_heads=0), "its description is damaged"),
        (lambda f: f["config"]["foundation"].update(blocks=[1]), "blocks"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, change, says):
    assert says in problem(described(tmp_path / "a", change))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_a_description_that_is_no_json_object_is_refused(tmp_path, text):
    path = safetensors_file(tmp_path / "a", {"__metadata__": {METADATA_KEY: text}})
    assert "its description is damaged or not ours" in problem(path)


def test_a_long_value_does_not_fill_the_message(tmp_path):
    path = described(tmp_path / "a", lambda fields: fields.update(licence=["x"] * 100_000))
    assert len(problem(path)) < 300


def test_the_hash_of_a_file_is_its_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert file_sha256(path) == hashlib.sha256(b"abc").hexdigest()


def test_reading_a_description_needs_no_torch_and_starts_quickly(tmp_path):
    path = described(tmp_path / "a")
    code = (
        "import sys; from pathlib import Path; from model.metadata import read_metadata;"
        "read_metadata(Path(sys.argv[1])); assert 'torch' not in sys.modules"
    )
    start_s = time.monotonic()
    subprocess.run([sys.executable, "-c", code, path], check=True)
    assert time.monotonic() - start_s < 5.0  # 0.1 s here; importing torch would take several


def test_through_twice_the_focal_length_a_thing_of_one_appearance_is_twice_as_far():
    scale = DepthScale(unit="metre", metres_per_unit=1.0, fy_per_height=1.92)
    assert scale.lens_factor(3.84) == 2.0
    assert DepthScale(unit="metre", metres_per_unit=1.0).lens_factor(3.84) is None


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_the_checkpoints_that_ship_hold_for_kitti_s_lens(name):
    path = Path(__file__).parents[2] / "model" / "pretrained" / f"{name}.safetensors"
    assert read_metadata(path).scale.fy_per_height == 1.92
