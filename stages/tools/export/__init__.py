"""The trained networks as ONNX files, for whatever runs those: ``make export``."""
