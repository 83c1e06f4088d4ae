"""The recipes of CONTRIBUTING: each of these fails while something that was added lacks one of its parts."""

import inspect
import io
import typing
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.backends.choose import choose
from service.codec import decode
from service.settings import Settings
from training.data.sources import READERS, help_text
from training.judge.evaluate import EvaluateCommand
from training.losses.config import LossesConfig, SynthesisConfig

ROOT = Path(__file__).parents[1]


def modules(folder: str, *others: str) -> set[str]:
    """Names of the modules of a folder, without those that are no example of what lies there."""
    return {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__", *others}


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@pytest.mark.parametrize("kind", decode._FORMATS)
def test_an_input_format_is_decoded_and_named_to_callers(kind: str) -> None:
    file = io.BytesIO()
    grey = np.linspace(30, 200, 48, dtype=np.uint8)[None, :, None].repeat(32, 0).repeat(3, 2)
    Image.fromarray(grey).save(file, kind, quality=95)
    decoded = decode.decode_image(file.getvalue(), height=32, width=48, max_pixels=10_000)
    assert np.abs(decoded.pixels.astype(int) - grey).mean() < 4
    name = {"WEBP": "WebP", "HEIF": "HEIC"}.get(kind, kind)
    assert name in decode.EXPECTED
    assert name in page("call.md").split("## ")[1]


def test_a_backend_can_be_chosen_by_its_module_s_name() -> None:
    kinds = set(typing.get_args(Settings.model_fields["backend"].annotation)) - {"auto"}
    assert kinds == modules("service/backends", "base", "choose", "cuda", "described", "exports")
    assert all(choose(kind, "cpu").backend == kind for kind in kinds)
    assert all(kind in (choose.__doc__ or "") for kind in kinds)


def test_a_loss_is_configured_documented_and_part_of_a_step() -> None:
    known = {field.type for field in fields(LossesConfig)} - {SynthesisConfig}
    steps = "".join((ROOT / "training/step" / name).read_text() for name in ("step.py", "distillation.py"))
    for name in modules("training/losses", "config", "averages", "reprojection", "photometric"):
        module = import_module(f"training.losses.{name}")
        configs = [one for key, one in vars(module).items() if key.endswith("Config")]
        assert set(configs) <= known, name
        assert f"from training.losses.{name} import" in steps, name
        assert "\n    " in (module.__doc__ or ""), f"{name}: the formula is missing"


def test_a_reader_has_a_kind_that_the_help_and_the_page_of_training_name() -> None:
    for kind, reader in READERS.items():
        assert f"{kind}:" in help_text()
        assert f"| `{kind}` |" in page("train.md"), kind
        assert inspect.getmodule(reader.dataset), kind
    read = {str(inspect.getmodule(reader.config)) for reader in READERS.values()}
    assert len(read) == len(READERS)


def test_a_protocol_can_be_asked_for_and_the_page_of_training_names_it() -> None:
    [asked] = [field for field in fields(EvaluateCommand) if field.name == "protocol"]
    names = {name.replace("-", "_") for name in typing.get_args(asked.type)}
    assert names == modules("training/judge/protocols", "protocol", "truth", "truth_files")
    assert all(f"| `{name}` |" in page("train.md") for name in typing.get_args(asked.type))
