"""The picture of an evaluation: what is drawn follows from what was measured."""

import io

import numpy as np
import pytest
from PIL import Image

from world_models.dynamics import Decoding
from world_models.evaluation import EvaluationConfig, evaluate_world_model
from world_models.plots import PANEL_IN, draw_evaluation, pareto_front
from world_models.timing import TimingConfig, compare_decodings


def test_what_nothing_beats():
    costs, gains = [1.0, 2.0, 4.0, 3.0, 4.0], [20.0, 22.0, 21.0, 22.0, 25.0]
    assert pareto_front(costs, gains) == [0, 1, 4]
    assert pareto_front([2.0, 1.0], [1.0, 1.0]) == [1]
    assert pareto_front([], []) == []


@pytest.mark.parametrize(("kind", "columns", "rows"), [("masked", 3, 3), ("latent", 2, 1)])
def test_every_figure_has_its_panel(make_model, recordings, kind, columns, rows):
    """Masked: PSNR, SSIM, item, tool, reliability, two batches; latent: it has no pictures."""
    model = make_model(kind)
    training, held_out = recordings.split(0.25)
    names = ("bar",) if kind == "masked" else ()
    config = EvaluationConfig(horizon=2, decoding=Decoding(1), class_names=names)
    result = evaluate_world_model(model, training, held_out, config)
    timing = TimingConfig((1, 2), repeats=1, quality_episodes=2, quality_horizon=2)
    result["decodings"] = compare_decodings(model, held_out, timing)
    picture = Image.open(io.BytesIO(draw_evaluation(result)))
    assert picture.format == "PNG"
    assert picture.width / picture.height == pytest.approx(
        PANEL_IN[0] * columns / (PANEL_IN[1] * rows), rel=0.01
    )
    assert len(np.unique(np.asarray(picture.convert("L")))) > 20  # something is drawn
