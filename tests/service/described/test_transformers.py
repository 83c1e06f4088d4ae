"""Networks of transformers, exported and imported from their folders, served as transformers runs them.

transformers has two processors for each family. The one of Pillow rounds as we do. With that of torchvision
up to 0.5 % of resized pixels are another whole number, by one (test_hugging_face.py bounds it), and a network
with large random weights amplifies that.
"""

from pathlib import Path

import numpy as np
import pytest

from model.described.importing import main as depth_import
from model.drawing import drawn_image
from tests.service.described.serving import WAYS, photograph, serving

pytest.importorskip("onnxruntime", reason="needs the extra `onnxruntime`")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="needs transformers, of the extra `dev`")

SHAPES = [(375, 1242), (108, 192), (240, 320), (320, 240), (200, 200)]
GAIN = 6.0
"""Of first weights, with which these networks would return one number everywhere."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def depth_anything():
    """Return a tiny Depth Anything with random weights, and processor settings that keep the aspect."""
    backbone = transformers.Dinov2Config(
        image_size=98,
        patch_size=14,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16,
        head_hidden_size=8,
    )
    network = transformers.DepthAnythingForDepthEstimation(config)
    torch.nn.init.constant_(network.head.conv3.bias, 1.0)  # else its ReLU may leave nothing
    size = {"height": 98, "width": 98}
    return network, {"size": size, "ensure_multiple_of": 14, "keep_aspect_ratio": True, "resample": 3}


def dpt():
    """Return a tiny DPT with random weights, and processor settings that stretch to one size."""
    config = transformers.DPTConfig(
        image_size=96,
        patch_size=16,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
    )
    network = transformers.DPTForDepthEstimation(config)
    torch.nn.init.constant_(network.head.head[4].bias, 1.0)
    return network, {"size": {"height": 96, "width": 96}}


class Traced(torch.nn.Module):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values):
        return self.network(pixel_values).predicted_depth


def run(network, processor, picture: np.ndarray) -> np.ndarray:
    """Return transformers' own disparity."""
    with torch.no_grad():
        outputs = network(**processor(picture, return_tensors="pt"))
    [found] = processor.post_process_depth_estimation(outputs, target_sizes=[picture.shape[:2]])
    disparity: np.ndarray = found["predicted_depth"].squeeze().numpy()
    assert disparity.std() > 0.1 * disparity.mean()  # a network that sees nothing would show nothing
    return disparity


def export(network, processor, picture: np.ndarray, models: Path, name: str) -> None:
    """Export a network at a picture's size, and import it with its folder."""
    folder = models.parent / name
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    torch.onnx.export(
        Traced(network),
        (processor(picture, return_tensors="pt")["pixel_values"],),
        folder / f"{name}.onnx",
        dynamo=False,
        input_names=["pixel_values"],
        output_names=["predicted_depth"],
    )
    depth_import([str(folder / f"{name}.onnx"), "--hugging-face", str(folder), "--output", str(models)])


@pytest.mark.parametrize("family", [depth_anything, dpt])
async def test_a_network_of_transformers_is_served_as_transformers_runs_it(family, tmp_path: Path) -> None:
    """Over HTTP for each shape, and over every other way for one."""
    torch.manual_seed(0)
    network, said = family()
    network.eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(GAIN)
    pillow, torchvision = transformers.DPTImageProcessorPil(**said), transformers.DPTImageProcessor(**said)
    models = tmp_path / "models"
    models.mkdir()
    pictures = {f"{width}x{height}": drawn_image(height, width) for height, width in SHAPES}
    for name, picture in pictures.items():
        export(network, torchvision, picture, models, name)
    async with serving(models, max_batch=1, default_model="320x240") as service:
        for name, picture in pictures.items():
            exact, near = (run(network, processor, picture) for processor in (pillow, torchvision))
            for way in WAYS if name == "320x240" else ("http",):
                depth = await WAYS[way](service, name, photograph(picture))
                assert depth.shape == picture.shape[:2]
                wrong = np.abs(depth * exact - 1)
                assert wrong.max() < 1e-3, (name, way, float(wrong.max()))
            wrong = np.abs(depth * near - 1)
            assert wrong.mean() < 1e-3, (name, float(wrong.mean()))
            assert np.quantile(wrong, 0.99) < 4e-3, (name, float(np.quantile(wrong, 0.99)))
