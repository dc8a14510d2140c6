"""The attribute network: architecture, PyTorch model, ONNX graph, checkpoints, decision thresholds."""
