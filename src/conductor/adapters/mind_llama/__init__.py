"""Our own language model: a small Llama whose 4-bit weights lie beside this code, run by onnxruntime."""
