"""Join what the encoder and a language model believe about the device into one distribution.

A logarithmic opinion pool: `p ∝ encoder^a · language_model^b`. Both read the same words, so their errors are related; the
weights add up to one, so that two calibrated parts give a calibrated whole, and were chosen on labelled texts that neither
was trained on (docs/lab-log.md). A zero of either part is softened first: no single part may veto.

Source: Heskes 1998, "Selecting weighting factors in logarithmic opinion pools", NIPS 10.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.decisions.form import DEVICES
from conductor.decisions.ports import FloatArray, Proposal

#: The least probability that a part may give to a device.
_LEAST: Final = 1e-4


def pooled(encoder: FloatArray, proposal: Proposal | None) -> npt.NDArray[np.float64]:
    """Device probabilities from the encoder's and, where there is one, a proposal's.

    Args:
        encoder: float32 [6], in the order of `DeviceType`.

    Returns:
        float64 [6], summing to 1; the encoder's own where the proposal says nothing.
    """
    own = _softened(encoder.astype(np.float64))
    if proposal is None:
        return own
    proposed = np.array([proposal.device_probabilities.get(device, 0.0) for device in DEVICES])
    if not np.isfinite(proposed).all() or proposed.sum() <= 0:
        return own
    logits = proposal.pooling.encoder * np.log(own) + proposal.pooling.language_model * np.log(_softened(proposed))
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _softened(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    raised = np.maximum(probabilities / probabilities.sum(), _LEAST)
    return np.asarray(raised / raised.sum(), dtype=np.float64)
