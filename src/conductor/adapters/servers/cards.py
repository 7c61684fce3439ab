"""How much memory NVIDIA's cards have in all, by the names that `memory_meter` gives them."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def card_bytes(load: Callable[[], Any] = lambda: importlib.import_module("pynvml")) -> Mapping[str, int]:
    """By device, `cuda:0`; empty where there is no driver, or none that answers. Blocking.

    Args:
        load: returns the `pynvml` module; a test hands in another.
    """
    nvml = load()
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return {f"cuda:{at}": int(nvml.nvmlDeviceGetMemoryInfo(handle).total) for at, handle in enumerate(handles)}
    except nvml.NVMLError:
        return {}
