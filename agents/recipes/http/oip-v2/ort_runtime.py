"""MLServer's inference runtime for ONNX models: its documented extension point (an MLModel), over ONNX Runtime.

Owns one session on one thread. Promises that a model which cannot be served makes load() raise, so that the server ends
with an error instead of staying "not ready"; that tensors keep names, shapes and datatypes in both directions; that a bad
request is answered with HTTP 400 and a sentence. Knows nothing of files other than the model's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError, InvalidModelURI
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor, ResponseOutput

# ONNX Runtime's tensor types, the protocol's datatypes. bfloat16 and strings have no numpy twin here and are refused.
DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8", "tensor(uint16)": "UINT16", "tensor(uint32)": "UINT32", "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8", "tensor(int16)": "INT16", "tensor(int32)": "INT32", "tensor(int64)": "INT64",
    "tensor(float16)": "FP16", "tensor(float)": "FP32", "tensor(double)": "FP64",
}
NUMPY = {"BOOL": np.bool_, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
         **{f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}").type for sign in ("U", "") for bits in (8, 16, 32, 64)}}


def _text(datatype: object) -> str:
    """MLServer's types hold a datatype as an enumeration or as its text, depending on where they come from."""
    return str(getattr(datatype, "value", datatype))


def _metadata(node: ort.NodeArg) -> MetadataTensor:
    if node.type not in DATATYPES:
        raise InferenceError(f"tensor \"{node.name}\" is {node.type}: the protocol has no datatype for it")
    # A named or unknown dimension is -1 on the wire.
    shape = [dim if isinstance(dim, int) and dim >= 0 else -1 for dim in node.shape]
    return MetadataTensor(name=node.name, datatype=DATATYPES[node.type], shape=shape)


class OnnxRuntime(MLModel):
    async def load(self) -> bool:
        uri = self.settings.parameters.uri if self.settings.parameters else None
        if not uri or not Path(uri).is_file():
            raise InvalidModelURI(self.name, uri)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # By path, not by bytes: external data lies beside the model.
        try:
            self._session = ort.InferenceSession(uri, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # MLServer logs a traceback, shuts down and exits with status 0: the log needs the sentence.
            print(f"portolan: error: ONNX Runtime {ort.__version__} cannot load {Path(uri).name}: {error}",
                  file=sys.stderr, flush=True)
            raise
        self.inputs = [_metadata(node) for node in self._session.get_inputs()]
        self.outputs = [_metadata(node) for node in self._session.get_outputs()]
        return True

    async def unload(self) -> bool:
        self._session = None
        return True

    def _feed(self, payload: InferenceRequest) -> dict[str, np.ndarray]:
        wanted = {tensor.name: tensor for tensor in self.inputs}
        feed: dict[str, np.ndarray] = {}
        for tensor in payload.inputs:
            expected = wanted.get(tensor.name)
            if expected is None:
                raise InferenceError(f"the model has no input \"{tensor.name}\"; it has: {', '.join(wanted)}")
            datatype, wants = _text(tensor.datatype), _text(expected.datatype)
            if datatype != wants:
                raise InferenceError(f"input \"{tensor.name}\" came as {datatype}; the model takes {wants}")
            data = getattr(tensor.data, "root", tensor.data)
            try:
                feed[tensor.name] = np.asarray(data, dtype=NUMPY[datatype]).reshape(tensor.shape)
            except (TypeError, ValueError, OverflowError) as error:
                raise InferenceError(f"input \"{tensor.name}\" does not fit {tensor.shape}: {error}") from error
        missing = [name for name in wanted if name not in feed]
        if missing:
            raise InferenceError(f"missing input: {', '.join(missing)}")
        return feed

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        feed = self._feed(payload)
        names = [output.name for output in payload.outputs or []] or [output.name for output in self.outputs]
        unknown = [name for name in names if name not in {output.name for output in self.outputs}]
        if unknown:
            raise InferenceError(f"the model has no output \"{unknown[0]}\"")
        try:
            arrays = self._session.run(names, feed)
        except Exception as error:  # the runtime's exceptions have no common base of their own
            raise InferenceError(f"inference failed: {error}") from error
        outputs: list[ResponseOutput] = []
        for name, array in zip(names, arrays):
            output = NumpyCodec.encode_output(name, array)
            output.shape = list(array.shape)  # the codec puts a dimension before a scalar or a vector
            outputs.append(output)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
