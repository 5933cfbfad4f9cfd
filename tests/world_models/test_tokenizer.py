"""Frames to tokens and back."""

import pytest
import torch

from world_models.config import GPU, TWO_CORE, TWO_CORE_16, TokenizerConfig
from world_models.tokenizer import Tokenizer, Usual, motion_weights, reconstruction_loss


def test_shapes_and_ranges():
    tokenizer = Tokenizer(TokenizerConfig(image_size_px=16, channels=(8, 16), levels=(5, 3)))
    images = torch.rand(2, 3, 16, 16)
    tokens = tokenizer.tokens(images)
    assert tokens.shape == (2, 16, 2)
    assert (tokens >= 0).all() and (tokens < tokenizer.levels).all()
    decoded = tokenizer.decode_tokens(tokens)
    assert decoded.shape == images.shape
    assert decoded.min() >= 0 and decoded.max() <= 1


def test_encoding_and_decoding_go_through_the_tokens():
    """What training decodes is what the tokens say, nothing leaks beside them."""
    tokenizer = Tokenizer(TokenizerConfig(image_size_px=16, channels=(8, 16)))
    images = torch.rand(2, 3, 16, 16)
    trained = tokenizer.decode(tokenizer.encode(images)[0]).clamp(0, 1)
    torch.testing.assert_close(trained, tokenizer.decode_tokens(tokenizer.tokens(images)))


@pytest.mark.parametrize(
    ("preset", "side", "digits"), [(TWO_CORE, 8, 4), (TWO_CORE_16, 4, 16), (GPU, 16, 4)]
)
def test_presets_have_their_tokens(preset, side, digits):
    assert preset.tokenizer.side == side
    assert preset.tokenizer.levels == (8, 5, 5, 5) * (digits // 4)


def test_what_moves_counts_more():
    usual = Usual(mean=torch.zeros(3, 8, 8), std=torch.full((3, 8, 8), 10.0))  # nothing is unusual
    images, before = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    images[0, :, 2, 2] = 1.0
    weights = motion_weights(images, before, usual, emphasis=4.0)
    assert weights.mean().item() == pytest.approx(1.0, abs=1e-6)
    assert weights[0, 0, 2, 2] / weights[0, 0, 7, 7] == pytest.approx(5.0)
    assert weights[0, 0, 3, 3] == weights[0, 0, 2, 2]  # the edge belongs to it
    even = motion_weights(images, before, usual, emphasis=0.0)
    assert torch.equal(even, torch.ones_like(even))
    missing = torch.zeros_like(images)
    assert reconstruction_loss(images, missing, weights) > 3 * reconstruction_loss(
        images, missing, even
    )


def test_what_is_unusual_at_its_place_counts_more():
    """A pixel that is often white counts less when it is white than one that never was."""
    seen = torch.zeros(10, 3, 8, 8)
    seen[::2, :, :, 6:] = 1.0  # the right edge is white in every other frame
    usual = Usual.of(seen)
    images = torch.zeros(1, 3, 8, 8)
    images[0, :, 2, 2] = images[0, :, 2, 7] = 1.0
    weights = motion_weights(images, images, usual, emphasis=4.0)[0, 0]
    assert weights[2, 2] / weights[2, 7] == pytest.approx((1 + 4 * 5.0) / (1 + 4 * 0.5 / 0.6))
    assert weights[5, 2] < weights[2, 7]
    assert weights[5, 2] == weights.min()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"image_size_px": 60}, "image_size_px: expected a multiple of 8"),
        ({"levels": (8, 1)}, "levels: expected numbers of 2 or more"),
        ({"channels": ()}, "channels: expected positive numbers"),
    ],
)
def test_impossible_sizes_are_refused(values, reason):
    with pytest.raises(ValueError, match=reason):
        TokenizerConfig(**values)
