"""Finite scalar quantization against its paper's properties."""

import itertools

import pytest
import torch

from world_models.fsq import bound, quantize, to_codes, to_digits, to_index

LEVELS = torch.tensor([8, 5, 5, 5])


def test_rounding_gives_exactly_the_levels():
    extremes = torch.linspace(-20, 20, 4001)[:, None].expand(-1, 4)
    digits = to_digits(quantize(extremes, LEVELS)[0], LEVELS)
    for dimension, level in enumerate(LEVELS):
        assert torch.unique(digits[:, dimension]).tolist() == list(range(int(level)))


@pytest.mark.parametrize(("level", "low", "high"), [(8, -4, 3), (5, -2, 2), (2, -1, 0)])
def test_bounds(level, low, high):
    values = bound(torch.tensor([[-50.0], [50.0]]), torch.tensor([level]))
    assert values.round().flatten().tolist() == [low, high]


def test_zero_is_rounded_to_the_middle():
    """The shift of an even number of levels is there for this (appendix A.1)."""
    assert bound(torch.zeros(1, 4), LEVELS).abs().max() < 1e-5


def test_digits_codes_and_index_name_the_same_token():
    digits = torch.tensor(list(itertools.product(*(range(int(level)) for level in LEVELS))))
    assert torch.equal(to_digits(to_codes(digits, LEVELS), LEVELS), digits)
    assert sorted(to_index(digits, LEVELS).tolist()) == list(range(1000))
    assert int(to_index(torch.tensor([3, 1, 0, 2]), LEVELS)) == 3 + 1 * 8 + 2 * 8 * 25


def test_rounding_passes_the_gradient_on():
    values = torch.randn(6, 4, requires_grad=True)
    quantize(values, LEVELS)[0].sum().backward()
    through = values.grad.clone()
    values.grad = None
    quantize(values, LEVELS)[1].sum().backward()
    torch.testing.assert_close(through, values.grad)
