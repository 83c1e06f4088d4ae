"""What a pass through a network does on its device, in every precision."""

import pytest
import torch

from model.network import DeployedNet
from model.precision import computing_in
from tests.fake_cuda import fake_cuda
from tests.model.networks import lively

PRECISIONS = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture(scope="module", params=["tiny", "tiny-teacher"])
def network(request: pytest.FixtureRequest) -> DeployedNet:
    return lively(request.param).deployed()


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_pass_on_a_device_makes_nothing_elsewhere_waits_for_nothing_and_converts_no_weight(
    network: DeployedNet, dtype: torch.dtype
) -> None:
    """What a CUDA graph cannot record: constants of the host, and values that the host waits for."""
    prepared = computing_in(network, dtype)
    with fake_cuda(prepared) as dispatched, torch.no_grad():  # which dispatches casts by their name
        image = torch.empty(2, 3, 64, 96, device="cuda")
        dispatched.converted.clear()
        disparity = prepared(image)
        assert (disparity.dtype, disparity.device.type) == (torch.float32, "cuda")
    assert dispatched.off_device == []
    held = {id(tensor) for tensor in (*prepared.parameters(), *prepared.buffers())}
    assert not held.intersection(map(id, dispatched.converted))
    if not hasattr(prepared.network, "foundation"):  # attention's fake kernel converts as it likes
        # The image once, and the last features to float32.
        assert len(dispatched.converted) == (0 if dtype is torch.float32 else 2)


def test_training_makes_nothing_off_the_device_in_the_passes_of_any_size() -> None:
    network = lively("tiny-teacher")
    with fake_cuda(network) as dispatched:
        dispatched.off_device.clear()
        network(torch.empty(2, 3, 64, 96, device="cuda"))
    assert dispatched.off_device == []


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_network_in_a_precision_is_the_network_as_far_as_that_goes(
    network: DeployedNet, dtype: torch.dtype
) -> None:
    image = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        expected, found = network(image), computing_in(network, dtype)(image)
    off = ((found - expected).abs() / expected).mean()
    assert off < {torch.float32: 1e-5, torch.bfloat16: 0.02, torch.float16: 0.003}[dtype]
    # Depth is as finely graded as in float32: bfloat16 itself has 256 values between 1 and 4.
    assert len(found.unique()) > 0.9 * len(expected.unique())


def test_the_network_itself_stays_as_it_was(network: DeployedNet) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    computing_in(network, torch.bfloat16)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
