"""PaLM's and nanoGPT's count."""

from __future__ import annotations

import pytest

from mfu_profiler.flops import TransformerShape, gpt_parameters

A100_BF16_FLOP_PER_S = 312e12

CHARACTER_MODEL = TransformerShape(
    parameters=gpt_parameters(6, 384, 65, bias=False), layers=6, heads=6, head_dim=64, context=256
)
"""nanoGPT's config/train_shakespeare_char.py."""


def test_nanogpts_character_model_has_10_65_million_parameters() -> None:
    embedding, block, last_norm = 65 * 384, 12 * 384 * 384 + 2 * 384, 384
    assert CHARACTER_MODEL.parameters == embedding + 6 * block + last_norm == 10_646_784


def test_an_iteration_of_nanogpts_character_model_is_1_163_tflop() -> None:
    """Batch 64. At nanoGPT's 33.27 ms it is 11.2 % of an A100."""
    flop = CHARACTER_MODEL.step_flop(sequences=64)
    assert flop == (6 * 10_646_784 + 12 * 6 * 6 * 64 * 256) * 64 * 256
    assert flop == pytest.approx(1.163e12, rel=1e-3)
    assert flop / 33.27e-3 / A100_BF16_FLOP_PER_S == pytest.approx(0.112, abs=5e-4)


def test_a_forward_is_a_third_of_a_training_step() -> None:
    assert CHARACTER_MODEL.forward_flop_per_token == 2 * 10_646_784 + 4 * 6 * 6 * 64 * 256
    assert CHARACTER_MODEL.training_flop_per_token == 3 * CHARACTER_MODEL.forward_flop_per_token


def test_gpt2_has_its_published_size() -> None:
    """124M with its position embedding of 1024 x 768, vocabulary 50257, biases."""
    assert gpt_parameters(12, 768, 50257) + 1024 * 768 == 124_439_808
