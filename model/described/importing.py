"""Put a network of others into a folder of models, with its description.

    depth-import NET.onnx --preset depth-anything-v2 --licence Apache-2.0 --output MODELS/

It runs the file before it writes anything: at two sizes, on both runtimes, against the authors' own result.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from model.atomic import replacing
from model.commands import explain
from model.described.description import (
    FORMAT,
    DescriptionError,
    NetworkDescription,
    description_path,
    network_files,
    parse_description,
    presets,
    write_description,
)
from model.described.hugging_face import read_hugging_face
from model.described.runtime import GOLDEN_PICTURE, NetworkFileError, RunningNetwork
from model.described.sizes import buckets, frame_of
from model.disparity import disparity_to_depth
from model.drawing import TOLERANCES, check_answer, drawn_image, golden_answer
from model.golden import GoldenAnswer, GoldenError

_SHOWN = ((375, 1242), (1080, 1920), (1920, 1080), (240, 320))
"""Height and width of pictures of which it is said what becomes of them."""
_TURNED = (GOLDEN_PICTURE[1], GOLDEN_PICTURE[0])
_MOST_WRONG = 0.01
"""Of the authors' own result, on average: another pipeline differs by more."""
Say = Callable[[str], None]


class ImportRefused(Exception):  # noqa: N818 - it is read as a sentence
    """A network that is not imported; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import found out, and is to be written."""

    keys: dict[str, Any]
    """Of the description, without the golden answer."""
    golden: GoldenAnswer


def look_into(network: Path, keys: dict[str, Any], say: Say) -> Imported:
    """Run a network and complete its description.

    Args:
        network: `.onnx` or `.xml`.
        keys: Of its description, as far as they are known.
        say: Told what was found out, line by line.

    Raises:
        ImportRefused: It cannot be served as it is described; the message says why.
    """
    keys = dict(keys)
    size = _only_size(network, keys, say)
    if size is not None:
        keys["size"] = {**keys.get("size", {}), "rule": "fixed", "target": list(size)}
    description = _parsed(keys)
    if (runtime := _runtime(network, description, say)) != "auto":
        keys["runtime"] = runtime
    running = RunningNetwork(network, description, runtime=None if runtime == "auto" else runtime)
    return Imported(keys=keys, golden=running.golden_answer())


def _parsed(keys: dict[str, Any]) -> NetworkDescription:
    return parse_description({"format": FORMAT, **keys})


def _only_size(network: Path, keys: dict[str, Any], say: Say) -> tuple[int, int] | None:
    """Return the one size at which pictures have to be given to a file whose rule has many; else None."""
    description = _parsed(keys)
    running = RunningNetwork(network, description, sized=False)
    rules = description.size
    one = rules.rule in ("fixed", "fit-and-pad") or rules.aspect == "stretch"
    if (size := running.static_size) is not None:
        if not one or (rules.target[0], rules.target[-1]) != size:
            say(f"the file takes {size[1]}x{size[0]} alone: every picture is stretched to that")
            return size
        return None
    if one:
        return None
    answers = []
    for picture in (GOLDEN_PICTURE, _TURNED):
        item = running.steps.prepare(drawn_image(*picture))
        height, width = running.steps.frame(*picture).input
        try:
            answer = running.run(item[None])[0][running.main]
        except NetworkFileError as error:
            raise ImportRefused(
                f"{error}\nThe file says that it takes any size, and fails at {width}x{height}; expected "
                "another export, or --size HEIGHTxWIDTH of the one that it was exported at"
            ) from error
        answers.append(((height, width), answer.shape))
    (first_in, first_out), (second_in, second_out) = answers
    follows = np.allclose(np.divide(first_out, first_in), np.divide(second_out, second_in), rtol=0.02)
    if follows:
        say("the file takes any size: outputs of two sizes follow their inputs")
        return None
    if first_out != second_out:
        raise ImportRefused(
            f"outputs do not follow inputs: {first_in} gives {first_out}, and {second_in} gives {second_out};"
            " expected another export"
        )
    height, width = first_out
    say(
        f"the file says that it takes any size, and answers each with {width}x{height}, at which it was "
        "exported: every picture is stretched to that"
    )
    return height, width


def _runtime(network: Path, description: NetworkDescription, say: Say) -> str:
    """Return which runtime is to serve a network; both answer the drawn image where both are there."""
    if description.runtime != "auto" or network.suffix == ".xml":
        return description.runtime
    if find_spec("onnxruntime") is None:
        say("ONNX Runtime is not installed: OpenVINO's answer is compared with no other")
        return "auto"
    try:
        exact = RunningNetwork(network, description, runtime="onnxruntime").answer_drawing()
        other = RunningNetwork(network, description, runtime="openvino").answer_drawing()
        wrong = check_answer(golden_answer(exact), other, TOLERANCES["float32"])
    except NetworkFileError as error:
        say(f"OpenVINO does not run it, and ONNX Runtime serves: {str(error).splitlines()[0]}")
        return "onnxruntime"
    except GoldenError as error:
        say(f"OpenVINO returns something else, and ONNX Runtime serves: {error}")
        return "onnxruntime"
    say(f"ONNX Runtime and OpenVINO agree within {wrong:.1e}")
    return "auto"


def compare(
    network: Path, description: NetworkDescription, reference: np.ndarray, picture: np.ndarray
) -> float:
    """Return the mean relative difference from the authors' own result for a picture.

    Args:
        network: Its file.
        description: What it needs.
        reference: (rows, columns) of depth, or of disparity where the network returns that.
        picture: uint8 RGB.

    Raises:
        ImportRefused: The reference is no such map.
    """
    reference = np.squeeze(reference)
    if reference.ndim != 2 or not np.isfinite(reference).all():
        raise ImportRefused(
            f"the reference has the shape {list(reference.shape)}, or holds NaN; expected one finite map"
        )
    running = RunningNetwork(network, description)
    [output] = running.run(running.steps.prepare(picture)[None])
    disparity = running.steps.read(output, picture.shape[:2], *reference.shape).disparity
    found = (
        disparity
        if description.output.quantity in ("disparity", "sigmoid")
        else disparity_to_depth(disparity)
    )
    there = np.isfinite(found) & (reference > 0)
    if not there.any():
        raise ImportRefused("the reference and the network's answer have depth at no pixel in common")
    return float(np.mean(np.abs(found[there] - reference[there]) / reference[there]))


def write(network: Path, imported: Imported, folder: Path, name: str) -> Path:
    """Copy a network and write its description, which comes last: until then nothing is served.

    Raises:
        OSError: Something cannot be written.
    """
    target = folder / (name + network.suffix)
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*network_files(network)[1:], network):
        copy = folder / (file.name if network.suffix == ".onnx" and file != network else name + file.suffix)
        if file.exists() and file.resolve() != copy.resolve():
            with replacing(copy) as partial:
                shutil.copyfile(file, partial)
    write_description(description_path(target), imported.keys, imported.golden)
    return description_path(target)


def _show(description: NetworkDescription, say: Say) -> None:
    for height, width in _SHOWN:
        try:
            frame = frame_of(description.size, height, width)
        except ValueError as error:
            say(f"  {width}x{height}: refused, {error}")
            continue
        rows, columns = frame.content
        inside = f", inside {frame.input[1]}x{frame.input[0]}" if frame.input != frame.content else ""
        say(f"  {width}x{height}: seen at {columns}x{rows}{inside}")
    if description.size.buckets:
        sizes = ", ".join(f"{columns}x{rows}" for rows, columns in buckets(description.size))
        say(f"  common photographs share {sizes}")
    unit = {
        "metre": "metres" + ("" if description.focal.rule == "none" else ", where the lens is known"),
        "relative": "relative: one known distance makes metres",
        "affine": "its inverse up to a factor and a shift: two known points make metres",
    }
    say(f"depth: {unit[description.output.unit]}")
    say(f"licence: {description.licence or 'none stated (--licence)'}")


def _keys(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the keys that the command line gives: a folder's, a file's, and single ones, the later first."""
    keys: dict[str, Any] = {}
    if arguments.hugging_face is not None:
        keys |= read_hugging_face(arguments.hugging_face)
    if arguments.description is not None:
        try:
            given = json.loads(arguments.description.read_text())
        except (OSError, ValueError) as error:
            raise DescriptionError(f"{arguments.description} is no JSON that can be read: {error}") from error
        if not isinstance(given, dict):
            raise DescriptionError(f"{arguments.description} holds no JSON object")
        keys |= {key: value for key, value in given.items() if key not in ("format", "golden")}
    for key in ("preset", "licence", "source", "runtime"):
        if (value := getattr(arguments, key)) is not None:
            keys[key] = value
    if sizes := _sizes(arguments):
        keys["size"] = {**keys.get("size", {}), **sizes}
    if not keys.keys() & {"preset", "input", "size", "output"}:
        raise DescriptionError(
            "nothing says what the network needs; expected --preset, --hugging-face or --description"
        )
    return keys


def _sizes(arguments: argparse.Namespace) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    if arguments.size is not None:
        rows, _, columns = arguments.size.partition("x")
        if not (rows.isdecimal() and columns.isdecimal()):
            raise DescriptionError(f"--size is {arguments.size!r}; expected HEIGHTxWIDTH")
        sizes |= {"rule": "fixed", "target": [int(rows), int(columns)]}
    if arguments.buckets is not None:
        sizes["buckets"] = arguments.buckets
    return sizes


def _picture(path: Path | None) -> np.ndarray:
    if path is None:
        return drawn_image(*GOLDEN_PICTURE)
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ImportRefused(f"{path} is no image that can be read")
    return np.ascontiguousarray(picture[..., ::-1])


def _run(arguments: argparse.Namespace) -> None:
    imported = look_into(arguments.network, _keys(arguments), print)
    description = _parsed(imported.keys)
    if arguments.check is not None:
        reference = np.load(arguments.check, allow_pickle=False)
        wrong = compare(arguments.network, description, reference, _picture(arguments.picture))
        if wrong > _MOST_WRONG:
            raise ImportRefused(
                f"it is {wrong:.2%} off {arguments.check} on average; expected {_MOST_WRONG:.0%} at most: "
                "the picture, the preset or the file is another"
            )
        print(f"it is {wrong:.1e} off the reference on average")
    _show(description, print)
    path = write(arguments.network, imported, arguments.output, arguments.name or arguments.network.stem)
    print(f"wrote {path}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="depth-import", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("network", type=Path, nargs="?", help="an .onnx file, or OpenVINO's .xml")
    parser.add_argument("--preset", help=f"one of {', '.join(presets())}")
    parser.add_argument(
        "--hugging-face",
        type=Path,
        help="a folder with transformers' preprocessor_config.json and config.json",
    )
    parser.add_argument("--description", type=Path, help="a .depth.json, whose keys go before the preset's")
    parser.add_argument("--output", type=Path, help="the folder of models")
    parser.add_argument("--name", help="of the model; the file's where none is given")
    parser.add_argument("--licence", help="of the weights, such as Apache-2.0")
    parser.add_argument("--source", help="where the weights come from")
    parser.add_argument("--size", help="HEIGHTxWIDTH of the only size that the file takes")
    parser.add_argument(
        "--buckets", type=int, help="how many sizes common photographs share; each its own where not given"
    )
    parser.add_argument("--runtime", choices=("auto", "onnxruntime", "openvino"), help="which is to serve it")
    parser.add_argument("--check", type=Path, help="the authors' own result for the picture, as .npy")
    parser.add_argument("--picture", type=Path, help="of --check; the drawn image where none is given")
    parser.add_argument(
        "--draw", type=Path, help="write the drawn image as PNG, for the authors' program, and end"
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Run `depth-import`."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.draw is not None:
        cv2.imwrite(str(given.draw), drawn_image(*GOLDEN_PICTURE)[..., ::-1])
        return
    if given.network is None or given.output is None:
        parser.error("expected a network and --output")
    try:
        _run(given)
    except OSError as error:
        raise SystemExit(f"depth-import: {explain(error)}") from error
    except (ImportRefused, NetworkFileError, ValueError) as error:
        raise SystemExit(f"depth-import: {error}") from error


if __name__ == "__main__":
    main()
