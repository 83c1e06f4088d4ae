import sys
from pathlib import Path

import pytest

from service.backends import BackendError, BackendOptions, choose, open_backend
from service.backends.choose import cores, cuda_devices

no_gpu = pytest.mark.skipif(cuda_devices() > 0, reason="this machine has a GPU")


@no_gpu
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_without_a_gpu_openvino_has_all_cores(device: str) -> None:
    place = choose(device=device)
    assert (place.backend, place.devices, place.threads) == ("openvino", ("cpu",), cores())


@no_gpu
def test_the_choice_comes_with_its_reason() -> None:
    assert choose().reason == "no CUDA device"
    assert choose(device="cpu").reason == "the CPU asked for"


def test_instances_share_the_cores() -> None:
    place = choose("openvino", instances=2)
    assert place.devices == ("cpu", "cpu")
    assert place.threads == max(1, cores() // 2)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, cores(Path("/nowhere"))),
        ({"cpu.max": "6400000 100000\n"}, cores(Path("/nowhere"))),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, cores(Path("/nowhere"))),
    ],
    ids=str,
)
def test_a_container_s_limit_counts_in_whole_cores(
    files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores(tmp_path) == expected


@no_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0,cuda:1"])
def test_a_gpu_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(BackendError, match="this machine has no CUDA device"):
        choose(device=device)


def test_openvino_on_a_gpu_is_refused() -> None:
    with pytest.raises(BackendError, match="OpenVINO runs on the CPU"):
        choose("openvino", "cuda")


def test_an_unknown_backend_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="backend is 'tensorrt'; expected"):
        open_backend("tensorrt", tmp_path / "any", BackendOptions())


def test_torch_that_is_not_installed_is_refused_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    with pytest.raises(BackendError, match=r"torch is not installed.*pip install 'vfm-depth\[torch\]'"):
        choose("torch")
    with pytest.raises(BackendError, match=r"pip install 'vfm-depth\[torch\]'"):
        choose(device="cuda")
    assert choose().backend == "openvino"
