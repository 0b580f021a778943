"""GANTrainer: losses, the gradient penalty, a ring of Gaussians, exact resume, diagnostics."""

import math
import warnings

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn, optim, train
from gradsmith.data.datasets import GaussianRing
from gradsmith.train.gan import _diagnoses
from gradsmith.train.gan_diagnostics import (
    coverage,
    diversity,
    frechet_distance,
    inception_score,
)
from gradsmith.train.gan_losses import GAN_LOSSES, gradient_penalty
from gradsmith.train.plotting import image_grid

RNG = np.random.default_rng(0)


def mlp(inputs, outputs, hidden=64):
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
        nn.Linear(hidden, outputs),
    )  # fmt: skip


def build(seed=0, hidden=64, lr=2e-3, **options):
    gs.manual_seed(seed)
    generator, critic = mlp(4, 2, hidden), mlp(2, 1, hidden)
    optimizers = [optim.Adam(m.parameters(), lr, betas=(0.5, 0.9)) for m in (generator, critic)]
    options = {"latent": 4, "progress": False, "loss": "wasserstein", **options}
    return train.GANTrainer(generator, critic, *optimizers, **options)


def weights(trainer):
    return [tensor.numpy().tobytes() for tensor in trainer.model.state_dict().values()]


def numbers(trainer):
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "samples_per_second")}
        for row in trainer.history.rows
    ]


def test_losses():
    real, fake = RNG.normal(size=(2, 7))

    def log_sigmoid(x):
        return -np.log1p(np.exp(-x))

    entropy = -log_sigmoid(real).mean() - log_sigmoid(-fake).mean()
    expected = {
        "minimax": (entropy, log_sigmoid(-fake).mean()),
        "non_saturating": (entropy, -log_sigmoid(fake).mean()),
        "least_squares": (((real - 1) ** 2 + fake**2).mean() / 2, ((fake - 1) ** 2).mean() / 2),
        "hinge": ((np.maximum(0, 1 - real) + np.maximum(0, 1 + fake)).mean(), -fake.mean()),
        "wasserstein": (fake.mean() - real.mean(), -fake.mean()),
    }
    assert expected.keys() == GAN_LOSSES.keys()
    for name, (critic, generator) in expected.items():
        loss = GAN_LOSSES[name]
        assert loss.critic(gs.tensor(real), gs.tensor(fake)).item() == pytest.approx(critic)
        assert loss.generator(gs.tensor(fake)).item() == pytest.approx(generator)


def test_gradient_penalty_and_its_gradient():
    # A linear critic's slope is its weight everywhere: the penalty is (|w| - 1)^2.
    critic = nn.Linear(3, 1, dtype=gs.float64)
    real, fake = gs.randn(5, 3, dtype=gs.float64), gs.randn(5, 3, dtype=gs.float64)
    penalty = gradient_penalty(critic, real, fake)
    penalty.backward()
    weight = critic.weight.detach().numpy()
    size = np.linalg.norm(weight)
    assert penalty.item() == pytest.approx((size - 1) ** 2)
    np.testing.assert_allclose(critic.weight.grad.numpy(), 2 * (size - 1) * weight / size)
    with pytest.raises(ValueError, match="must have the same shape"):
        gradient_penalty(critic, real, fake[:4])


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_gradient_penalty_against_differences(kind):
    gs.manual_seed(0)
    if kind == "linear":
        critic, shape = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), (4, 3)
    else:
        critic, shape = nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.LeakyReLU(0.2), nn.GroupNorm(1, 3),
            nn.Conv2d(3, 1, 4),
        ), (4, 2, 4, 4)  # fmt: skip
    critic.double()
    real, fake = gs.randn(*shape, dtype=gs.float64), gs.randn(*shape, dtype=gs.float64)

    def value():
        gs.manual_seed(3)
        return gradient_penalty(critic, real, fake)

    value().backward()
    for param in critic.parameters():
        if param.grad is None:
            continue  # the last bias moves no slope
        flat, step = param.detach().reshape(-1), 1e-6
        at = int(param.grad.abs().reshape(-1).argmax().item())
        ends = []
        for sign in (1, -1):
            with gs.no_grad():
                before = flat[at].item()
                flat[at] = before + sign * step
                param.copy_(flat.reshape(*param.shape))
            ends.append(value().item())
            with gs.no_grad():
                flat[at] = before
                param.copy_(flat.reshape(*param.shape))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert param.grad.reshape(-1)[at].item() == pytest.approx(slope, rel=1e-5, abs=1e-9)


@pytest.mark.torch
def test_gradient_penalty_against_torch():
    torch = pytest.importorskip("torch")
    gs.manual_seed(0)
    critic = mlp(3, 1, 8).double()
    layers = []
    for layer in critic:
        if isinstance(layer, nn.Linear):
            layers.append(torch.nn.Linear(layer.in_features, layer.out_features).double())
            with torch.no_grad():
                layers[-1].weight.copy_(torch.from_numpy(layer.weight.detach().numpy()))
                layers[-1].bias.copy_(torch.from_numpy(layer.bias.detach().numpy()))
        else:
            layers.append(torch.nn.ReLU())
    theirs = torch.nn.Sequential(*layers)
    real, fake = RNG.normal(size=(2, 6, 3))
    gs.manual_seed(5)
    share = gs.rand(6, 1, dtype=gs.float64).numpy()
    gs.manual_seed(5)
    ours = gradient_penalty(critic, gs.tensor(real), gs.tensor(fake))
    ours.backward()
    between = torch.tensor(fake + share * (real - fake), requires_grad=True)
    (slope,) = torch.autograd.grad(theirs(between).sum(), between, create_graph=True)
    expected = ((slope.square().sum(1) + 1e-12).sqrt() - 1).square().mean()
    expected.backward()
    assert ours.item() == pytest.approx(expected.item(), rel=1e-10)
    for mine, other in zip(critic.parameters(), theirs.parameters(), strict=True):
        if mine.grad is not None:
            grad = other.grad.numpy()
            np.testing.assert_allclose(mine.grad.numpy(), grad, rtol=1e-9, atol=1e-12)


def test_ring_of_gaussians_is_covered():
    ring = GaussianRing(1024, std=0.1)
    trainer = build(hidden=64, critic_steps=3, penalty=1.0)
    history = trainer.fit(ring, epochs=120, batch_size=128)
    modes, good = ring.score(trainer.sample(1000))
    assert modes == 8 and good > 0.6
    assert history.last["coverage"] > 0.4 and 0.7 < history.last["diversity"] < 1.3
    assert "critic_accuracy" not in history.last and history.last["penalty"] < 0.2


@pytest.mark.parametrize("loss", GAN_LOSSES)
def test_every_loss_trains(loss):
    ring = GaussianRing(256)
    trainer = build(loss=loss, hidden=16)
    before = weights(trainer)
    history = trainer.fit(ring, epochs=2, batch_size=64)
    assert all(math.isfinite(value) for value in history.last.values())
    moved = [a != b for a, b in zip(weights(trainer), before, strict=True)]
    # Only the critic's last bias may stay: it cancels out of some losses.
    assert all(moved[:-1])
    assert ("penalty" in history.last) == (loss == "wasserstein")
    assert all(param.requires_grad for param in trainer.model.parameters())


def test_critic_steps_are_counted_over_epochs():
    ring = GaussianRing(64 * 4)
    trainer = build(critic_steps=3, hidden=8)
    trainer.fit(ring, epochs=3, batch_size=64)
    steps = {
        name: {int(s["step"]) for s in getattr(trainer, f"{name}_optimizer").state.values()}
        for name in ("generator", "critic")
    }
    # The last bias of a Wasserstein critic gets a gradient of zero, not none.
    assert steps == {"generator": {4}, "critic": {12}} and trainer.critic_updates == 12


def test_resumed_run_equals_unbroken_run(tmp_path):
    ring = GaussianRing(256)

    def make(seed=0, *callbacks):
        trainer = build(seed, hidden=8, critic_steps=3, callbacks=callbacks)
        rates = optim.lr_scheduler
        trainer.schedulers.append(rates.ExponentialLR(trainer.generator_optimizer, 0.9))
        return trainer

    whole = make()
    whole.fit(ring, epochs=5, batch_size=64)
    make(0, train.Checkpoint(tmp_path / "c")).fit(ring, epochs=2, batch_size=64)
    resumed = make(99)
    resumed.fit(ring, epochs=5, batch_size=64, resume=tmp_path / "c")
    assert numbers(resumed) == numbers(whole) and weights(resumed) == weights(whole)
    assert resumed.sample().numpy().tobytes() == whole.sample().numpy().tobytes()
    with pytest.raises(ValueError, match="1 schedulers, the trainer has 0"):
        build(hidden=8).load_checkpoint(tmp_path / "c")


def test_diagnostics():
    real = RNG.normal(size=(200, 2))
    assert diversity(real, RNG.normal(size=(200, 2))) == pytest.approx(1, abs=0.15)
    assert diversity(real, np.zeros((20, 2))) == 0
    assert coverage(real, RNG.normal(size=(200, 2))) > 0.9
    assert coverage(real, real[:1] + 1e-3 * RNG.normal(size=(200, 2))) < 0.1
    half = real[real[:, 0] > 0]
    assert 0.4 < coverage(real, half) < 0.8
    for call in (lambda: coverage(real, real[:, :1]), lambda: coverage(real, real, 200)):
        with pytest.raises(ValueError, match="coverage"):
            call()

    fine, collapsed, won = {"diversity": 0.9}, {"diversity": 0.01}, {"critic_accuracy": 1.0}
    assert _diagnoses([fine, collapsed, collapsed]) == []
    (text,) = _diagnoses([fine, collapsed, collapsed, collapsed])
    assert "collapsed" in text and "gradient penalty" in text
    assert _diagnoses([collapsed] * 4) == []  # said before
    assert "critic" in _diagnoses([won] * 3)[0]


def test_frechet_distance():
    # Of normal distributions along the axes: the shift squared, and the deviations' differences.
    base = RNG.normal(size=(4000, 3))
    base = (base - base.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(base.T)).T)
    moved = base * [1.0, 3.0, 0.5] + [2.0, 0.0, -1.0]
    expected = 5 + 2.0**2 + 0.5**2
    assert frechet_distance(base, moved) == pytest.approx(expected)
    turn = np.linalg.qr(RNG.normal(size=(3, 3)))[0]  # it depends on no axes
    assert frechet_distance(moved @ turn, base @ turn) == pytest.approx(expected)
    assert frechet_distance(moved, moved) == pytest.approx(0, abs=1e-9)
    flat = np.zeros((5, 1, 2, 2), np.float32)  # no spread at all
    assert frechet_distance(flat, flat + 1) == pytest.approx(4)
    for bad in (base[:, :2], base[:1]):
        with pytest.raises(ValueError, match="frechet_distance: real"):
            frechet_distance(base, bad)


def test_inception_score():
    sure = np.eye(4).repeat(3, 0)
    assert inception_score(sure) == pytest.approx(4)
    assert inception_score(sure[:3]) == pytest.approx(1)  # one class only
    assert inception_score(np.full((5, 4), 0.25)) == pytest.approx(1)
    assert inception_score(sure[:6]) == pytest.approx(2)
    rows = RNG.dirichlet(np.ones(6), 50).astype(np.float32)
    divergence = (rows * np.log(rows / rows.mean(0))).sum(1).mean()
    assert inception_score(rows) == pytest.approx(math.exp(divergence), rel=1e-5)
    for bad, text in ((rows[0], "shape"), (rows * 2, "sum to 1"), (rows - 1, "sum to 1")):
        with pytest.raises(ValueError, match=f"inception_score: .*{text}"):
            inception_score(bad)


def test_collapse_is_warned_about():
    trainer = build(hidden=8, lr=0.0)
    with gs.no_grad():
        trainer.generator[4].weight.zero_()
    with pytest.warns(train.GANWarning, match="the generator has collapsed"):
        trainer.fit(GaussianRing(64), epochs=4, batch_size=32)


def test_an_averaged_generator_is_what_is_measured():
    ema = train.EMA(0.9)
    trainer = build(hidden=8, callbacks=[ema])
    row = trainer.fit(GaussianRing(128), epochs=2, batch_size=32).last
    averaged = {n: w.numpy().tobytes() for n, w in ema.average.weights.items()}
    assert weights(trainer) == list(averaged.values())
    assert row["diversity"] == diversity(trainer.reference, trainer.sample().numpy())


def test_sample_grids(tmp_path):
    pytest.importorskip("matplotlib")
    grid = train.SampleGrid(tmp_path / "points-{epoch}.png", every=2)
    build(hidden=8, callbacks=[grid]).fit(GaussianRing(64), epochs=3, batch_size=32)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["points-2.png", "points-3.png"]
    image = pytest.importorskip("PIL.Image")
    grid.animate(tmp_path / "points.gif")
    with image.open(tmp_path / "points.gif") as animation:
        assert animation.n_frames == 2
    with pytest.raises(ValueError, match="0 pictures"):
        train.SampleGrid("x").animate(tmp_path / "none.gif")

    generator = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Unflatten(1, (1, 4, 4)))
    critic = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    optimizers = [optim.SGD(m.parameters(), 0.1) for m in (generator, critic)]
    grid = train.SampleGrid(tmp_path / "images.png", columns=3)
    trainer = train.GANTrainer(
        generator, critic, *optimizers, latent=(3,), samples=7, progress=False, callbacks=[grid]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.fit(gs.randn(16, 1, 4, 4), batch_size=8)
    assert (tmp_path / "images.png").stat().st_size > 100

    images = np.zeros((3, 1, 2, 2), np.float32)
    images[2] = 1
    laid = image_grid(images, 2, (-1, 1))
    assert laid.shape == (10, 10, 1) and laid[2, 2, 0] == 0.5 and laid[6, 2, 0] == 1
    with pytest.raises(ValueError, match="image_grid: images must be"):
        image_grid(images[:, 0])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"loss": "mse"}, "loss must be one of minimax"),
        ({"critic_steps": 0}, "critic_steps must be an int of at least 1"),
        ({"penalty": -1.0}, "penalty must be finite"),
    ],
)
def test_bad_settings(options, text):
    with pytest.raises(ValueError, match=text):
        build(**options)


def test_wrong_shapes_and_losses_that_explode():
    with pytest.raises(ValueError, match=r"samples of shape \(8, 2\), the data has \(8, 3\)"):
        build(hidden=8).fit(gs.randn(8, 3))
    trainer = build(hidden=8)
    with gs.no_grad():
        trainer.critic[0].weight.fill_(math.inf)
    with pytest.raises(FloatingPointError, match="the loss of the critic is"):
        trainer.fit(gs.randn(8, 2))
    with pytest.raises(TypeError, match="critic must be a Module"):
        train.GANTrainer(nn.Linear(1, 1), len, None, None)
