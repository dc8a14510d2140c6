"""Prediction: attribute scores of images with ONNX Runtime or PyTorch, and metrics of the scores."""
