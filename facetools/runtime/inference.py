"""Sessions of ONNX Runtime, without its telemetry."""

from __future__ import annotations

import os
from typing import Any

# Since version 1.29, ONNX Runtime sends usage data over the network unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

onnxruntime.set_default_logger_severity(4)  # its errors are raised as exceptions too


def create_session(model: bytes | str, *, device: str = "cpu") -> Any:
    """A session for the `model` with this content or in this file.

    device: `cpu`; `auto` or `cuda` use the GPU if ONNX Runtime's GPU build is installed, `cuda:N` that GPU.
    On the CPU, the session computes in the calling thread. Threads may share it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # each of our threads has images of its own
    options.log_severity_level = 4
    providers: list[Any] = ["CPUExecutionProvider"]
    if device != "cpu" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        number = int(device.partition(":")[2] or 0)
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": number}))
    return onnxruntime.InferenceSession(model, options, providers=providers)
