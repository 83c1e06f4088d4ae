"""What an operator may set, and how the service reports what is not allowed."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings

ROOT = Path(__file__).parents[2]


def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **variables: str) -> Settings:
    monkeypatch.setenv("DEPTH_MODELS", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(f"DEPTH_{name}", value)
    return Settings(_env_file=None)


def test_ports_are_where_clients_of_kserve_and_triton_look_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = read(monkeypatch, tmp_path)
    assert (found.http_port, found.grpc_port) == (8000, 8001)


def test_each_field_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = read(monkeypatch, tmp_path, HTTP_PORT="9000", MAX_BATCH="8", BATCH_DELAY_S="0.002")
    assert (found.http_port, found.max_batch, found.batch_delay_s) == (9000, 8, 0.002)


def test_settings_never_change_once_they_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read(monkeypatch, tmp_path).http_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HTTP_PORT", "70000", "http_port"),
        ("MAX_BATCH", "0", "max_batch"),
        ("BATCH_DELAY_S", "-1", "batch_delay_s"),
        ("BACKEND", "tensorflow", "backend"),
        ("MODELS", "/nowhere", "DEPTH_MODELS is /nowhere, which does not exist"),
        ("CORS_ORIGINS", "maps.example", "'maps.example' is no origin"),
        ("CORS_ORIGINS", "https://maps.example/page", "is no origin"),
        ("ROOT_PATH", "depth", "'depth' is no prefix of paths"),
        ("ROOT_PATH", "https://here/depth", "is no prefix of paths"),
        ("TLS_CERT", "/nowhere", "DEPTH_TLS_CERT and DEPTH_TLS_KEY are set together"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        read(monkeypatch, tmp_path, **{name: value})


def test_origins_have_commas_between(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = read(monkeypatch, tmp_path, CORS_ORIGINS="https://maps.example, http://localhost:5173")
    assert found.cors_origins == ("https://maps.example", "http://localhost:5173")
    assert read(monkeypatch, tmp_path, CORS_ORIGINS="").cors_origins == ()


def test_an_admin_key_is_never_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = read(monkeypatch, tmp_path, ADMIN_KEY="open sesame")
    assert "sesame" not in f"{found!r} {found} {found.model_dump_json()}"
    with pytest.raises(ValidationError) as refusal:
        read(monkeypatch, tmp_path, ADMIN_KEY="open sesame", ADMIN_KEY_FILE="/run/key")
    assert "sesame" not in str(refusal.value)


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_variable_is_an_absent_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blank: str
) -> None:
    names = [name.upper() for name in Settings.model_fields if name != "models"]
    usual = read(monkeypatch, tmp_path)
    assert read(monkeypatch, tmp_path, **dict.fromkeys(names, blank)) == usual


def test_a_prefix_has_no_slash_at_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert read(monkeypatch, tmp_path, ROOT_PATH="/tools/depth/").root_path == "/tools/depth"


def test_every_setting_says_what_it_is() -> None:
    rows = [
        line for line in (ROOT / "docs/reference/settings.md").read_text().splitlines() if "`DEPTH_" in line
    ]
    said = {row.split("|")[1].strip(): row.rsplit("|", 2)[1].strip() for row in rows}
    assert len(said) == len(Settings.model_fields)
    assert not [name for name, text in said.items() if len(text.split()) < 4 or text.startswith("Of ")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, True), ({"DEPTH_CUDA_GRAPHS": "no"}, False), ({"DEPTH_COMPILE": "no"}, False)],
)
def test_cuda_graphs_are_switched_by_their_name_and_by_their_old_name(
    given: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert Settings().records_graphs is expected
