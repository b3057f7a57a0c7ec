"""Correcting through ONNX Runtime, without PyTorch."""
