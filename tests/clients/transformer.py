"""A transformer as KServe's documents show them: it stands before the service and turns requests upside down.

Run by the tests with KServe's own package, which is not in this environment.
"""

import argparse

import numpy as np
from kserve import InferInput, InferRequest, InferResponse, Model, ModelServer, model_server


class UpsideDown(Model):
    """Asks for the depth of pictures that are turned around, and turns it back."""

    async def preprocess(self, payload: InferRequest, headers: dict[str, str] | None = None) -> InferRequest:
        """Turn pixels around; pass files on as base64, because KServe's server reads BYTES as text."""
        tensor = payload.inputs[0]
        data = np.ascontiguousarray(
            tensor.as_numpy()[:, ::-1] if tensor.datatype == "UINT8" else tensor.as_numpy()
        )
        is_file = tensor.datatype == "BYTES"
        said = {"content_type": "base64"} if is_file else None
        turned = InferInput(tensor.name, list(data.shape), tensor.datatype, parameters=said)
        turned.set_data_from_numpy(data, binary_data=True)
        return InferRequest(self.name, [turned], parameters={"size": "model" if is_file else "input"})

    async def postprocess(
        self, result: InferResponse, headers: dict[str, str] | None = None, response_headers: object = None
    ) -> InferResponse:
        """Turn depth back."""
        output = result.outputs[0]
        output.set_data_from_numpy(np.ascontiguousarray(output.as_numpy()[:, ::-1]), binary_data=False)
        output.parameters = None
        return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    options, _ = parser.parse_known_args()
    model = UpsideDown(options.model_name)
    model.ready = True
    ModelServer(http_port=options.http_port, enable_grpc=False, workers=1).start([model])
