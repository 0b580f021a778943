"""Models: sizes and names of parameters, initial values, shapes, and what they compute."""

import math

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import models, nn

# As torchvision and the published CIFAR networks have them.
SIZES = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnext50_32x4d": 25_028_904,
    "mobilenet_v2": 3_504_872,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    model = getattr(models, name)()
    assert sum(p.numel() for p in model.parameters()) == SIZES[name]


def test_names():
    def names(model):
        return list(model.state_dict())

    found = names(models.resnet18())
    assert found[:2] == ["conv1.weight", "bn1.weight"] and found[-1] == "fc.bias"
    assert len(found) == 122 and "layer2.0.downsample.1.running_var" in found
    found = names(models.ResNet(models.Bottleneck, (1, 1, 1, 1)))
    assert "layer1.0.bn3.num_batches_tracked" in found and "layer1.0.downsample.0.weight" in found
    found = names(models.mobilenet_v2(width_mult=0.25))
    assert len(found) == 314 and found[0] == "features.0.0.weight"
    assert "features.1.conv.0.0.weight" in found and "features.1.conv.1.weight" in found
    assert "features.2.conv.3.running_mean" in found and "features.18.0.weight" in found
    assert found[-2:] == ["classifier.1.weight", "classifier.1.bias"]
    found = names(models.resnet20())
    assert len(found) == 116 and found[-1] == "linear.bias" and "shortcut" not in " ".join(found)
    assert "layer2.0.shortcut.0.weight" in names(models.resnet20(option="B"))


def test_vgg_layout(monkeypatch):
    # The classifier's hundred million weights are not needed to see the layout.
    monkeypatch.setattr("gradsmith.models.vgg.init_convolutional", lambda *a, **k: None)
    monkeypatch.setattr(nn.Linear, "reset_parameters", lambda self: None)
    names = list(models.vgg16(num_classes=3).state_dict())
    assert names[:2] == ["features.0.weight", "features.0.bias"] and len(names) == 32
    assert names[25] == "features.28.bias" and names[-2:] == [
        "classifier.6.weight",
        "classifier.6.bias",
    ]
    names = list(models.vgg11_bn(num_classes=3).state_dict())
    assert "features.1.running_mean" in names and "features.25.weight" in names
    total = sum(p.numel() for p in models.vgg11().parameters())
    assert total == 132_863_336
    with pytest.raises(ValueError, match="depth must be one of"):
        models.VGG(12)


def test_initial_values():
    gs.manual_seed(0)
    model = models.resnet18(zero_init_residual=True)
    weight = model.layer3[1].conv2.weight.detach().numpy()
    assert weight.std() == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.02)
    assert not model.layer3[1].bn2.weight.detach().numpy().any()
    assert np.abs(model.fc.weight.detach().numpy()).max() <= 1 / math.sqrt(512)
    model = models.mobilenet_v2()
    depthwise = model.features[10].conv[1][0].weight.detach().numpy()
    assert depthwise.shape[1] == 1
    assert depthwise.std() == pytest.approx(math.sqrt(2 / (depthwise.shape[0] * 9)), rel=0.1)
    head = model.classifier[1]
    assert head.weight.detach().numpy().std() == pytest.approx(0.01, rel=0.01)
    assert not head.bias.detach().numpy().any()
    weight = models.resnet20().layer3[1].conv2.weight.detach().numpy()
    assert weight.std() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.03)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: models.LeNet(), (2, 1, 28, 28)),
        (lambda: models.LeNet(activation="tanh", in_channels=3), (2, 3, 28, 28)),
        (lambda: models.resnet20(), (2, 3, 32, 32)),
        (lambda: models.resnet20(option="B", in_channels=1), (2, 1, 28, 28)),
        (lambda: models.ResNet(models.BasicBlock, (1, 1, 1, 1), 10), (2, 3, 33, 40)),
        (lambda: models.ResNet(models.Bottleneck, (1, 1, 1, 1), 10, groups=2), (2, 3, 32, 32)),
        (lambda: models.mobilenet_v2(10, 0.35), (2, 3, 32, 32)),
    ],
)
def test_images_in_scores_out(build, shape):
    gs.manual_seed(0)
    model = build()
    output = model(gs.randn(*shape))
    assert tuple(output.shape) == (2, 10)
    output.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_option_a_subsamples_and_pads_with_zeros():
    block = models.CifarBlock(2, 4, 2).eval()
    for conv in (block.conv1, block.conv2):
        nn.init.zeros_(conv.weight)
    x = gs.rand(1, 2, 4, 4)
    output = block(x).detach().numpy()
    np.testing.assert_array_equal(output[:, 1:3], x.numpy()[:, :, ::2, ::2])
    assert not output[:, [0, 3]].any()


def test_char_lstm_writes():
    gs.manual_seed(0)
    model = models.CharLSTM(5, 8, 16, 2, dropout=0.2)
    text = gs.tensor(np.arange(40).reshape(1, 40) % 5)
    assert tuple(model(text).shape) == (1, 5, 40)
    optimizer = gs.optim.Adam(model.parameters(), 0.03)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(text[:, :-1]), text[:, 1:])
        loss.backward()
        optimizer.step()
    assert model.training
    assert model.generate([0, 1, 2], 7, temperature=0) == [3, 4, 0, 1, 2, 3, 4]
    assert model.generate([0, 1, 2], 7, temperature=0.2, generator=0) == [3, 4, 0, 1, 2, 3, 4]
    first, second = (model.generate([0], 20, temperature=9.0, generator=4) for _ in range(2))
    assert first == second and set(first) <= set(range(5))
    assert model.generate([3], 3, temperature=100.0, top_k=1, generator=0) == [4, 0, 1]
    # Steps with a memory equal the whole.
    model.eval()
    whole = model(text).detach().numpy()
    half, state = model.step(text[:, :17])
    rest, _ = model.step(text[:, 17:], state)
    joined = np.concatenate([half.detach().numpy(), rest.detach().numpy()], 2)
    np.testing.assert_allclose(joined, whole, rtol=1e-5, atol=1e-5)
    for options, match in (({"prompt": []}, "prompt"), ({"temperature": -1}, "temperature")):
        with pytest.raises(ValueError, match=match):
            model.generate(**{"prompt": [0], "length": 1, **options})


def test_text_cnn_takes_the_strongest_response():
    gs.manual_seed(0)
    model = models.TextCNN(20, 3, 6, 4, (2, 3), dropout=0.0)
    assert {n.split(".")[0] for n, _ in model.named_parameters()} == {"embedding", "convs", "fc"}
    words = gs.randint(0, 20, (2, 9))
    table = model.embedding.weight.detach().numpy()[words.numpy()]  # (N, T, E)
    features = []
    for conv in model.convs:
        weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
        size = weight.shape[2]
        seen = [
            np.einsum("nte,fet->nf", table[:, t : t + size], weight) + bias
            for t in range(9 - size + 1)
        ]
        features.append(np.maximum(np.max(seen, 0), 0))
    expected = np.concatenate(features, 1) @ model.fc.weight.detach().numpy().T
    expected += model.fc.bias.detach().numpy()
    np.testing.assert_allclose(model(words).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert tuple(model(gs.randint(0, 20, (2, 1))).shape) == (2, 3)  # shorter than a filter
    with pytest.raises(ValueError, match="kernel_sizes"):
        models.TextCNN(20, 3, kernel_sizes=())


@pytest.mark.parametrize(("size", "side"), [(64, 4), (28, 7), (48, 6), (10, 5)])
def test_dcgan_sizes(size, side):
    gs.manual_seed(0)
    generator = models.DCGANGenerator(5, 2, 4, size)
    critic = models.DCGANDiscriminator(2, 4, size)
    noise = gs.randn(3, 5)
    images = generator(noise)
    assert tuple(images.shape) == (3, 2, size, size) and images.abs().max().item() <= 1
    assert tuple(critic(images).shape) == (3,)
    assert tuple(generator.main[0].weight.shape)[2:] == (side, side)
    flat = generator.eval()(noise.reshape(3, 5, 1, 1))
    np.testing.assert_array_equal(flat.detach().numpy(), generator(noise).detach().numpy())


def test_dcgan_names_and_values():
    gs.manual_seed(0)
    generator, critic = models.DCGANGenerator(), models.DCGANDiscriminator()
    # 3,576,704 and 2,765,568 parameters: the counts of PyTorch's example.
    assert sum(p.numel() for p in generator.parameters()) == 3_576_704
    assert sum(p.numel() for p in critic.parameters()) == 2_765_568
    names = list(generator.state_dict())
    assert names[:3] == ["main.0.weight", "main.1.weight", "main.1.bias"]
    assert names[-1] == "main.12.weight"
    assert list(critic.state_dict())[1] == "main.2.weight"
    assert list(critic.state_dict())[-1] == "main.11.weight"
    assert generator.main[3].weight.detach().numpy().std() == pytest.approx(0.02, rel=0.01)
    assert generator.main[1].weight.detach().numpy().mean() == pytest.approx(1, abs=0.005)
    kinds = {
        norm: [type(m).__name__ for m in models.DCGANDiscriminator(1, 4, 28, norm).main]
        for norm in ("layer", "none")
    }
    assert kinds["layer"] == ["Conv2d", "LeakyReLU", "Conv2d", "GroupNorm", "LeakyReLU", "Conv2d"]
    assert kinds["none"] == ["Conv2d", "LeakyReLU", "Conv2d", "LeakyReLU", "Conv2d"]
    for size in (7, 22, 3):
        with pytest.raises(ValueError, match="image_size must be 4, 5, 6 or 7 times"):
            models.DCGANGenerator(image_size=size)
    with pytest.raises(ValueError, match="norm"):
        models.DCGANDiscriminator(norm="spectral")


def test_dcgan_trains_with_a_gradient_penalty():
    gs.manual_seed(0)
    generator = models.DCGANGenerator(8, 1, 4, 28)
    critic = models.DCGANDiscriminator(1, 4, 28, norm="layer")
    optimizers = [gs.optim.Adam(m.parameters(), 1e-3) for m in (generator, critic)]
    trainer = gs.train.GANTrainer(
        generator, critic, *optimizers, loss="wasserstein", latent=8, samples=8, progress=False
    )
    before = generator.main[0].weight.detach().clone()
    trainer.fit(gs.rand(32, 1, 28, 28) * 2 - 1, batch_size=16)
    assert (generator.main[0].weight.detach() - before).abs().max().item() > 0
    assert tuple(trainer.sample(3).shape) == (3, 1, 28, 28)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_against_torchvision(name, tmp_path):
    theirs = pytest.importorskip("torchvision.models")
    torch = pytest.importorskip("torch")
    other = getattr(theirs, name)(num_classes=5).double().eval()
    ours = getattr(models, name)(num_classes=5).double().eval()
    assert list(ours.state_dict()) == list(other.state_dict())
    torch.save(other.state_dict(), tmp_path / "w.pth")
    assert gs.load_pretrained(ours, tmp_path / "w.pth").complete
    images = np.random.default_rng(0).normal(size=(2, 3, 40, 48))
    expected = other(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(ours(gs.tensor(images)).detach().numpy(), expected, rtol=1e-10)
