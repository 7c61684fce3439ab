import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.adapters.mind_llama.vocabulary import Vocabulary


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), tokens=st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_rows_are_scale_times_number_less_128(seed: int, tokens: list[int]) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, 256, (10, 3, 32)).astype(np.uint8)
    scales = rng.normal(size=(10, 3)).astype(np.float16)

    rows = Vocabulary(codes, scales).rows(tokens)

    expected = (codes.astype(np.float32) - 128) * scales.astype(np.float32)[..., None]
    assert np.array_equal(rows, expected.reshape(10, 96)[tokens])
