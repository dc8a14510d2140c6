"""Sessions of ONNX Runtime send no usage data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_onnx_runtime_collects_no_usage_data(tmp_path: Path) -> None:
    """Its telemetry stores an identifier and pending events below the home folder."""
    program = "from facetools.runtime import inference; inference.onnxruntime.get_available_providers()"
    environment = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    homes = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(tmp_path))
    subprocess.run([sys.executable, "-c", program], env=environment | homes, check=True)
    assert not list(tmp_path.rglob("*"))
