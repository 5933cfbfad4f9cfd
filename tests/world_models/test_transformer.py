"""The cache changes nothing, the future changes nothing, neither does what is too old."""

import pytest
import torch

from world_models.transformer import Cache, SpaceTimeTransformer

WIDTH, PLACES, CONTEXT = 16, 4, 2


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    made = SpaceTimeTransformer(WIDTH, blocks=2, heads=2, context_frames=CONTEXT)
    with torch.no_grad():
        for value in made.parameters():
            value += 0.2 * torch.randn_like(value)
    return made.eval()


@pytest.fixture
def clip():
    generator = torch.Generator().manual_seed(1)
    frames = torch.randn(3, 6, PLACES, WIDTH, generator=generator)
    return frames, torch.randn(3, 6, WIDTH, generator=generator)


def test_cached_equals_uncached(transformer, clip):
    """Frame by frame with a cache as long as the context, far beyond it: as all at once."""
    frames, condition = clip
    whole, _ = transformer(frames, condition)
    cache = None
    for index in range(6):
        now = slice(index, index + 1)
        features, new = transformer(frames[:, now], condition[:, now], cache)
        torch.testing.assert_close(features[:, 0], whole[:, index], rtol=1e-5, atol=1e-5)
        cache = new if cache is None else cache.followed_by(new, CONTEXT)
        assert cache.frames == min(index + 1, CONTEXT)


def test_several_frames_may_follow_a_cache(transformer, clip):
    frames, condition = clip
    whole, _ = transformer(frames, condition)
    _, cache = transformer(frames[:, :2], condition[:, :2])
    features, _ = transformer(frames[:, 2:5], condition[:, 2:5], cache)
    torch.testing.assert_close(features, whole[:, 2:5], rtol=1e-5, atol=1e-5)


def test_the_future_does_not_matter(transformer, clip):
    frames, condition = clip
    whole, _ = transformer(frames, condition)
    changed = frames.clone()
    changed[:, 4:] = frames[:, 4:].flip(-1)  # a layer norm would not see a constant
    features, _ = transformer(changed, condition)
    torch.testing.assert_close(features[:, :4], whole[:, :4])
    assert (features[:, 4:] - whole[:, 4:]).abs().max() > 0.1


def test_a_block_looks_back_no_further_than_the_context(clip):
    torch.manual_seed(0)
    single = SpaceTimeTransformer(WIDTH, blocks=1, heads=2, context_frames=CONTEXT).eval()
    frames, condition = clip
    whole, _ = single(frames, condition)
    changed = frames.clone()
    changed[:, 0] = frames[:, 0].flip(-1)
    features, _ = single(changed, condition)
    torch.testing.assert_close(features[:, CONTEXT + 1 :], whole[:, CONTEXT + 1 :])
    assert (features[:, CONTEXT] - whole[:, CONTEXT]).abs().max() > 1e-3


def test_the_condition_matters_to_its_frame(transformer, clip):
    frames, condition = clip
    whole, _ = transformer(frames, condition)
    changed = condition.clone()
    changed[:, 3] += 1.0
    features, _ = transformer(frames, changed)
    torch.testing.assert_close(features[:, :3], whole[:, :3])
    assert (features[:, 3] - whole[:, 3]).abs().max() > 0.1


def test_place_by_place_equals_a_causal_frame(transformer, clip):
    """The autoregressive path with both its caches, in space and in time."""
    frames, condition = clip
    whole, _ = transformer(frames[:, :3], condition[:, :3], last_is_causal=True)
    _, cache = transformer(frames[:, :2], condition[:, :2])
    before = None
    for place in range(PLACES):
        one = frames[:, 2:3, place : place + 1]
        features, before = transformer.next_place(
            one, condition[:, 2:3], cache.place(place), before
        )
        torch.testing.assert_close(features[:, 0, 0], whole[:, 2, place], rtol=1e-5, atol=1e-5)


def test_later_places_do_not_matter_to_a_causal_frame(transformer, clip):
    frames, condition = clip
    whole, _ = transformer(frames, condition, last_is_causal=True)
    changed = frames.clone()
    changed[:, -1, 2:] = frames[:, -1, 2:].flip(-1)
    features, _ = transformer(changed, condition, last_is_causal=True)
    torch.testing.assert_close(features[:, -1, :2], whole[:, -1, :2])
    torch.testing.assert_close(features[:, :-1], whole[:, :-1])


def test_a_repeated_cache_belongs_to_repeated_rows(transformer, clip):
    frames, condition = clip
    _, cache = transformer(frames[:, :2], condition[:, :2])
    repeated: Cache = cache.repeat(2)
    assert torch.equal(repeated.keys[0][0], cache.keys[0][0])
    assert torch.equal(repeated.keys[0][1], cache.keys[0][0])
    assert torch.equal(repeated.values[1][2], cache.values[1][1])
