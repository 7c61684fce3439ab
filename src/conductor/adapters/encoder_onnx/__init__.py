"""Our sentence encoder, shipped as an int8 ONNX graph beside this code and run by onnxruntime."""

from conductor.adapters.encoder_onnx.encoder import SHIPPED, OnnxEncoder

__all__ = ["SHIPPED", "OnnxEncoder"]
