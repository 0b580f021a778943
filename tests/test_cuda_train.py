"""Training on CUDA: layers, optimizers and trainers as on the CPU; see test_cuda.py."""

import gradsmith as gs
import numpy as np
from gradsmith import nn
from gradsmith.testing import assert_close
from test_cuda import gpu, rand, run_emulated


def test_emulated():
    run_emulated(__file__)


@gpu
def test_a_network_trains_as_on_the_cpu():
    def losses(device):
        gs.manual_seed(0)
        layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 10)]
        model = nn.Sequential(*layers).to(device)
        optimizer = gs.optim.AdamW(model.parameters(), lr=1e-2)
        x, y = gs.randn(16, 1, 8, 8).to(device), gs.randint(0, 10, (16,)).to(device)
        seen = []
        for _ in range(6):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            seen.append(loss.item())
        return seen

    expected = losses("cpu")
    np.testing.assert_allclose(losses("cuda"), expected, rtol=1e-4)
    assert expected[-1] < expected[0]


@gpu
def test_the_trainer_takes_batches_to_the_model(tmp_path):
    def history(device):
        gs.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(device)
        optimizer = gs.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        trainer = gs.Trainer(model, nn.CrossEntropyLoss(), optimizer, progress=False)
        data = rand(40, 4), gs.randint(0, 3, (40,))
        trainer.fit(data, data, epochs=2, batch_size=16, seed=1)
        trainer.save_checkpoint(tmp_path / f"{device}.safetensors")
        trainer.fit(data, data, epochs=3, batch_size=16, seed=1)
        rows = [(row["loss"], row["accuracy"], row["val_loss"]) for row in trainer.history.rows]
        return rows, trainer.predict(data[0])

    (expected, outputs), (found, on_device) = history("cpu"), history("cuda")
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert str(on_device.device) == "cuda:0"
    assert_close(on_device.cpu(), outputs, 1e-4, 1e-5)


@gpu
def test_products_in_bfloat16_as_on_the_cpu():
    """The same factors, rounded the same; the sums are float32's, in another order."""

    def results(device, x, w, b):
        x, w, b = (t.detach().to(device).requires_grad_() for t in (x, w, b))
        with gs.autocast(device):
            assert gs.is_autocast_enabled(device)
            assert not gs.is_autocast_enabled("cpu" if device == "cuda" else "cuda")
            y = nn.functional.linear(x, w, b)
            z = (y @ x.reshape(-1, 37).narrow(0, 0, 20)).sin()
        z.square().sum().backward()
        assert y.dtype is z.dtype is gs.float32
        return [v.cpu() for v in (y.detach(), z.detach(), x.grad, w.grad, b.grad)]

    inputs = rand(3, 23, 37), rand(20, 37), rand(20)
    exact = nn.functional.linear(*inputs)
    expected, found = results("cpu", *inputs), results("cuda", *inputs)
    # The second product rounds the first's sums, where the last bit may turn a rounding over.
    for one, other, allowed in zip(found, expected, (1e-5, 2e-2, 5e-2, 5e-2, 5e-2), strict=True):
        assert_close(one, other, allowed, allowed)
    assert not gs.allclose(found[0], exact, 1e-4, 1e-4)  # it was rounded


@gpu
def test_the_trainer_in_bfloat16():
    def history(precision, device="cuda"):
        gs.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3)).to(device)
        optimizer = gs.optim.AdamW(model.parameters(), lr=0.05)
        trainer = gs.Trainer(
            model, nn.CrossEntropyLoss(), optimizer, progress=False, precision=precision
        )
        x = rand(64, 4)
        trainer.fit((x, (x[:, 0] > 0).to(gs.int64)), epochs=6, batch_size=16, seed=1)
        assert all(p.dtype is gs.float32 for p in model.parameters())
        return [row["loss"] for row in trainer.history.rows]

    half, whole, on_cpu = history("bf16"), history("float32"), history("bf16", "cpu")
    assert half != whole and half[-1] < 0.5 * half[0]
    np.testing.assert_allclose(half, on_cpu, rtol=0.02)
    np.testing.assert_allclose(half, whole, rtol=0.1)


@gpu
def test_a_gan_and_an_average_train_on_the_device(tmp_path):
    def pair():
        generator = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)).to("cuda")
        critic = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)).to("cuda")
        return generator, critic

    generator, critic = pair()
    optimizers = [gs.optim.Adam(m.parameters()) for m in (generator, critic)]
    gan = gs.train.GANTrainer(generator, critic, *optimizers, latent=2, progress=False)
    gan.fit(rand(32, 2), epochs=1, batch_size=16)
    assert str(gan.sample(3).device) == "cuda:0"

    def trainer():
        model = nn.Linear(3, 2).to("cuda")
        optimizer = gs.optim.SGD(model.parameters(), lr=0.1)
        average = gs.train.EMA(0.9, apply_at_end=False)
        return gs.Trainer(
            model, nn.MSELoss(), optimizer, callbacks=[average], metrics=(), progress=False
        )

    data = rand(8, 3), rand(8, 2)
    first = trainer()
    first.fit(data, epochs=1)
    first.save_checkpoint(tmp_path / "1.safetensors")
    trainer().fit(data, epochs=2, resume=tmp_path / "1.safetensors")


@gpu
def test_the_gradient_penalty_is_on_the_device():
    generator, critic = nn.Linear(2, 2).to("cuda"), nn.Linear(2, 1).to("cuda")
    optimizers = [gs.optim.Adam(m.parameters()) for m in (generator, critic)]
    gan = gs.train.GANTrainer(
        generator, critic, *optimizers, loss="wasserstein", latent=2, progress=False
    )
    history = gan.fit(rand(16, 2), epochs=1, batch_size=8)
    assert history.last["penalty"] > 0
    # A linear critic's gradient is its weight everywhere, whichever points are drawn.
    points = rand(4, 2).to("cuda"), rand(4, 2, seed=1).to("cuda")
    penalty = gs.train.gan_losses.gradient_penalty(critic, *points)
    assert str(penalty.device) == "cuda:0"
    wanted = (gs.sqrt(critic.weight.square().sum()) - 1).square()
    assert_close(penalty.cpu(), wanted.cpu(), 1e-4, 1e-5)
