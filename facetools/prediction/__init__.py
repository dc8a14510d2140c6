"""Prediction: scores of images from a checkpoint, with ONNX Runtime or PyTorch, and their metrics."""
