"""Sessions of ONNX Runtime for detectors."""

from __future__ import annotations

from typing import Any

import onnxruntime


def create_session(model: bytes | str) -> Any:
    """A session for the `model` with this content or in this file.

    It uses the GPU if ONNX Runtime's GPU build is installed. On the CPU it computes in the calling thread.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # each of our threads has images of its own
    options.log_severity_level = 3
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    available = onnxruntime.get_available_providers()
    return onnxruntime.InferenceSession(model, options, providers=[name for name in wanted if name in available])
