"""Small networks in ONNX, written node by node: what they compute can be said in a sentence."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def ones(height, width):
    return np.ones((height, width), np.float32)


def write_network(
    path,
    *,
    size=(None, None),
    batch=None,
    sides=(),
    field_of_view=None,
    seed=0,
    least=0.5,
    main="predicted_depth",
):
    """Write a network: two convolutions of stride 2 and 1, and ``least + |x|``; deterministic, local, smooth.

    Its main output has half the sides of its input, `pixel_values`; `sides` are |x| of further channels, and
    a field of view in degrees is an output of this name. A size or a batch of None takes any.
    """
    random = np.random.default_rng(seed)
    channels = 1 + len(sides)
    constants = {
        "w1": random.normal(0, 0.3, (8, 3, 3, 3)),
        "w2": random.normal(0, 0.3, (channels, 8, 3, 3)),
        "least": np.array(least),
    }
    nodes = [
        helper.make_node("Conv", ["pixel_values", "w1"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Abs", ["c"], ["d"]),
    ]
    names = [main, *sides]
    if sides:
        nodes.append(helper.make_node("Split", ["d"], [f"{n}_" for n in names], axis=1, num_outputs=channels))
    else:
        nodes.append(helper.make_node("Identity", ["d"], [f"{main}_"]))
    nodes.append(helper.make_node("Add", [f"{main}_", "least"], [main]))
    nodes += [helper.make_node("Identity", [f"{name}_"], [name]) for name in sides]
    image = [batch or "batch", 3, size[0] or "height", size[1] or "width"]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [image[0], 1, None, None]) for name in names
    ]
    if field_of_view is not None:
        constants |= {"fov": np.array([field_of_view])}
        nodes.append(helper.make_node("Identity", ["fov"], ["field_of_view"]))
        outputs.append(helper.make_tensor_value_info("field_of_view", TensorProto.FLOAT, [1]))
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, image)],
        outputs,
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_brightness(path, *, factor=1.0, shift=0.0, size=(None, None)):
    """Write a network that returns ``factor x + shift`` for the mean x of a pixel's three values.

    Its output, `predicted_depth`, has the size of its input, `pixel_values`.
    """
    constants = {"w": np.full((1, 3, 1, 1), factor / 3), "b": np.array([shift])}
    image = ["batch", 3, size[0] or "height", size[1] or "width"]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["pixel_values", "w", "b"], ["predicted_depth"])],
        "brightness",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("predicted_depth", TensorProto.FLOAT, [image[0], 1, None, None])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path
