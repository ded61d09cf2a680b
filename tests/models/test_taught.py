import numpy as np
import pytest

from radiowidgets.models.encoders import small, two_looks
from radiowidgets.models.mockframes import Turned
from radiowidgets.models.ssl.base import Recipe, train
from radiowidgets.models.ssl.simclr import nt_xent
from radiowidgets.models.ssl.taught import Taught


@pytest.fixture(scope="module")
def looks():
    return np.random.default_rng(0).integers(0, 255, (16, 2, 2, 32, 32, 3)).astype(np.uint8)


def model(**options):
    return Taught(two_looks(small(3, widths=(4, 8)), 32), kinds=4, **options)


def test_both_looks_stand_side_by_side(looks):
    one = small(3, widths=(4, 8))
    both = two_looks(one, 32)
    frames = looks[:, 0].astype(np.float32) / 255
    assert np.allclose(both(frames)[:, :16], one(frames[:, 0]), atol=1e-6)
    assert np.allclose(both(frames)[:, 16:], one(frames[:, 1]), atol=1e-6)


def test_the_loss_is_the_sum_of_both(looks):
    rng = np.random.default_rng(1)
    outputs = {
        "projected": rng.normal(size=(12, 5)).astype(np.float32),
        "logits": rng.normal(size=(12, 4)).astype(np.float32),
    }
    labels = np.array([0, 1, 2, 3, 0, 1])
    logits = outputs["logits"].astype(float)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = np.full((12, 4), 0.1 / 4)
    target[np.arange(12), np.tile(labels, 2)] += 0.9
    taught = -(target * log_p).sum(1).mean()
    contrast = float(nt_xent(outputs["projected"][:6], outputs["projected"][6:], 0.2))
    for a, b in ((1.0, 0.0), (0.0, 1.0), (0.5, 2.0)):
        loss = model(contrast_weight=a, teaching_weight=b).compute_loss(y=labels, y_pred=outputs)
        assert float(loss) == pytest.approx(a * contrast + b * taught, abs=1e-5)


def test_traits_are_learnt_where_there_are_any(looks):
    outputs = {
        "projected": np.zeros((4, 5), np.float32),
        "logits": np.zeros((4, 4), np.float32),
        "traits": np.array([[1.0, 2.0], [5.0, 5.0], [0.0, 0.0], [5.0, 5.0]], np.float32),
    }
    labels = np.array([[2.0, 0.0, 0.0], [1.0, np.nan, np.nan]], np.float32)
    made = model(traits=2, contrast_weight=0.0, teaching_weight=0.0, traits_weight=3.0)
    assert float(made.compute_loss(y=labels, y_pred=outputs)) == pytest.approx(3 * (1 + 4) / 8)
    named = model(traits=2, contrast_weight=0.0, traits_weight=0.0)
    assert float(named.compute_loss(y=labels, y_pred=outputs)) == pytest.approx(np.log(4), abs=1e-5)


def test_it_trains(looks):
    recipe = Recipe("taught", batch_size=8, epochs=5, warmup_epochs=0, optimizer="adamw", rate=5e-3)
    made = model()
    losses = train(made, Turned(looks, 1), recipe, labels=np.arange(16) % 4)
    assert losses[-1] < losses[0]
    assert made(looks[:3, 0].astype(np.float32)).shape == (3, 32)
