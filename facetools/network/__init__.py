"""The attribute network: architecture, PyTorch model and backbones, ONNX model, checkpoints, decision thresholds."""
