"""Streams, events, pinned memory, DLPack and graphs on CUDA; see test_cuda.py.

The emulator does a stream's work only when somebody waits for it, so a missing wait shows.
"""

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn
from gradsmith.testing import assert_close
from test_cuda import gpu, on_cuda, rand, run_emulated

cuda = gs.cuda


def test_emulated():
    run_emulated(__file__)


def test_without_a_device():
    if cuda.is_available():
        pytest.skip("there is a device")
    for use in (cuda.Stream, lambda: gs.ones(2).pin_memory(), lambda: cuda.Event().record()):
        with pytest.raises(RuntimeError, match="no device"):
            use()
    assert not gs.ones(2).is_pinned() and cuda.Event().query()
    with pytest.raises(ValueError, match="capture=True is for models on a CUDA device"):
        model = nn.Linear(2, 2)
        gs.Trainer(model, nn.MSELoss(), gs.optim.SGD(model.parameters()), capture=True)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: cuda.synchronize(3.5), "device must be .*got float"),
        (lambda: cuda.get_device_name(True), "device must be .*got bool"),
        (lambda: cuda.Stream([]), "device must be .*got list"),
        (lambda: cuda.set_stream(None), "set_stream: stream must be a gs.cuda.Stream, got None"),
        (lambda: cuda.stream(5).__enter__(), "stream: stream must be a gs.cuda.Stream, got int"),
        (lambda: cuda.Event().record(5), "Event: stream must be a gs.cuda.Stream, got int"),
        (lambda: cuda.Event().wait(5), "Event: stream must be a gs.cuda.Stream, got int"),
        (lambda: cuda.Event().elapsed_time(3), "end must be a gs.cuda.Event, got int"),
        (lambda: cuda.graph(5), "graph: step must be callable, got int"),
        (lambda: gs.ones(2).record_stream(5), "stream must be a gs.cuda.Stream, got int"),
    ],
)
def test_arguments_of_another_type(call, text):
    with pytest.raises(TypeError, match=text):
        call()


# ---- streams and events ----


@gpu
def test_streams_wait_for_each_other():
    x, side = on_cuda(rand(300)), cuda.Stream()
    assert cuda.current_stream() == cuda.default_stream() != side
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side) as chosen:
        assert chosen is side and cuda.current_stream() == side
        y = x * 2
        event = side.record_event()
        z = y + 1
    assert cuda.current_stream() == cuda.default_stream()
    cuda.current_stream().wait_event(event)
    assert_close(y.cpu(), x.cpu() * 2)
    cuda.current_stream().wait_stream(side)
    assert_close(z.cpu(), x.cpu() * 2 + 1)
    side.synchronize()
    assert side.query() and event.query()
    assert "cuda.Stream device=cuda:0" in repr(side) and hash(side) == hash(chosen)


@gpu
def test_events():
    start, end, plain = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True), cuda.Event()
    assert plain.query() and plain.synchronize() is None
    with pytest.raises(RuntimeError, match="both events must have enable_timing=True"):
        start.elapsed_time(end)
    start.record()
    y = gs.ones(100, device="cuda").exp()
    end.record()
    end.synchronize()
    assert start.elapsed_time(end) >= 0 and y.is_contiguous()
    plain.record(cuda.Stream())
    with pytest.raises(RuntimeError, match="elapsed_time"):
        start.elapsed_time(plain)


@gpu
def test_memory_is_not_used_again_before_another_stream_is_done():
    side = cuda.Stream()
    x = gs.ones(4096, device="cuda")
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        y = x + 1
    x.record_stream(side)
    del x
    fresh = gs.full((4096,), 7.0, device="cuda")  # would be x's memory
    side.synchronize()
    assert y.cpu().tolist() == [2.0] * 4096
    own, again = fresh.data_ptr(), gs.ones(4096, device="cuda").data_ptr()
    assert own != again
    del fresh
    assert gs.ones(4096, device="cuda").data_ptr() == own  # at once on its own stream
    cuda.empty_cache()


# ---- copies ----


@gpu
def test_pinned_memory():
    x = rand(70, 3)
    pinned = x.pin_memory()
    assert pinned.is_pinned() and pinned.pin_memory() is pinned and not x.is_pinned()
    assert pinned.tolist() == x.tolist()
    side = cuda.Stream()
    with cuda.stream(side):
        y = pinned[1:].to("cuda", non_blocking=True)
        del pinned
        rand(70, 3, seed=5).pin_memory()  # would be in its place
        back = y.to("cpu", non_blocking=True)
    assert back.is_pinned()
    side.synchronize()
    assert back.tolist() == x[1:].tolist()
    assert y.to("cuda", non_blocking=True) is y
    assert x.to("cuda", non_blocking=True).tolist() == x.tolist()  # not pinned: waits
    with pytest.raises(ValueError, match="pin_memory: the tensor must be on the CPU"):
        y.pin_memory()


# ---- DLPack ----


class Producer:
    """Another library's tensor."""

    def __init__(self, tensor):
        self.tensor, self.asked = tensor, None

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, *, stream=None, max_version=None):
        self.asked = stream
        return self.tensor.__dlpack__(stream=stream, max_version=max_version)


@gpu
def test_dlpack():
    x = on_cuda(rand(3, 4))
    assert x.__dlpack_device__() == (2, 0)
    for stream in (None, 1, -1, cuda.Stream().cuda_stream):
        y = gs.from_dlpack(x.__dlpack__(stream=stream, max_version=(1, 0)))
        assert y.data_ptr() == x.data_ptr() and y.device == x.device
    for stream in (0, 2, -5):
        with pytest.raises(ValueError, match="stream must be -1, 1 or a CUDA stream's address"):
            x.__dlpack__(stream=stream)
    producer, side, other = Producer(x.t()), cuda.Stream(), cuda.Stream()
    y = gs.from_dlpack(producer)
    assert producer.asked == 1 and y.shape == (4, 3) and not y.is_contiguous()
    with cuda.stream(side):
        gs.from_dlpack(producer)
        assert producer.asked == side.cuda_stream
        made = x * 3
        capsule = made.__dlpack__(stream=other.cuda_stream)  # which then waits for the product
    with cuda.stream(other):
        taken = gs.from_dlpack(capsule) + 1
        del made, capsule
    other.synchronize()
    assert_close(taken.cpu(), x.cpu() * 3 + 1)
    assert gs.from_dlpack(rand(2).pin_memory().__dlpack__()).device == gs.device("cpu")


# ---- graphs ----

OPTIMIZERS = {
    "sgd": lambda p: gs.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda p: gs.optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: gs.optim.RMSprop(p, lr=0.01, centered=True),
    "adagrad": lambda p: gs.optim.Adagrad(p, lr=0.1),
    "nadam": lambda p: gs.optim.NAdam(p, lr=0.01),
    "radam": lambda p: gs.optim.RAdam(p, lr=0.01, betas=(0.8, 0.9)),
    "adamax": lambda p: gs.optim.Adamax(p, lr=0.01),
    "adadelta": lambda p: gs.optim.Adadelta(p, lr=2.0),
    "rprop": lambda p: gs.optim.Rprop(p, lr=0.01),
    "asgd": lambda p: gs.optim.ASGD(p, lr=0.1, t0=2),
    "lion": lambda p: gs.optim.Lion(p, lr=0.01, weight_decay=0.1),
}


@gpu
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_replayed_step_is_the_step(name):
    def losses(graphed):
        gs.manual_seed(0)
        layers = [nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2)]
        model = nn.Sequential(*layers, nn.Linear(16, 3)).to("cuda")
        optimizer = OPTIMIZERS[name](model.parameters())
        schedule = gs.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)

        def step(x, y):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            return loss

        seen = []
        for i in range(5):
            x, y = on_cuda(rand(8, 5, seed=i)), gs.arange(8, device="cuda") % 3
            if graphed and i == 1:
                step = cuda.graph(step, x, y, warmup=0)
            seen.append(step(x, y).item())
            schedule.step()
        state = {k: v.cpu().tolist() for k, v in model.state_dict().items()}
        return seen, state, [p.grad.cpu().tolist() for p in model.parameters()], gs.rand(1).item()

    assert losses(True) == losses(False)


@gpu
def test_a_graph_of_an_lstm_and_its_memory():
    layer = nn.LSTM(4, 6).to("cuda")
    x = on_cuda(rand(3, 2, 4))
    with gs.no_grad():
        replay = cuda.graph(lambda x: layer(x)[0] * 2, x)
        for i in range(3):
            other = on_cuda(rand(3, 2, 4, seed=i))
            noise = [gs.ones(3, 2, 6, device="cuda") for _ in range(8)]
            assert_close(replay(other).cpu(), layer(other)[0].cpu() * 2, 1e-6, 1e-6)
            assert all(n.sum().item() == 36 for n in noise)
    used = cuda.memory_allocated()
    del replay
    assert cuda.memory_allocated() < used


@gpu
def test_what_a_graph_cannot_record():
    x = on_cuda(rand(4, 2))
    model = nn.Linear(2, 2).to("cuda")

    def train(make):
        optimizer = make(model.parameters())

        def step(x):
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()

        return step

    for step, message in (
        (
            lambda x: x.sum().item(),
            "while a graph is recorded",
        ),
        (lambda x: x[x > 0], "while a graph is recorded"),
        (train(gs.optim.Adam), "Adam has no exp_avg yet; make a step before"),
    ):
        with pytest.raises(RuntimeError, match=message):
            cuda.graph(step, x, warmup=0)
    for inputs in ((), (rand(2),)):
        with pytest.raises(ValueError, match="inputs must be tensors on one CUDA device"):
            cuda.graph(lambda *x: x, *inputs)
    replay = cuda.graph(lambda x: x * 2, x)
    with pytest.raises(
        ValueError, match=r"graph: inputs must be like \[\(4, 2\)\], got \[\(3, 2\)\]"
    ):
        replay(x[:3])
    assert_close(replay(x).cpu(), x.cpu() * 2)


@gpu
def test_a_graph_keeps_what_its_step_uses():
    x = on_cuda(rand(8, 8))

    def make():
        w = on_cuda(rand(8, 8, seed=3))
        return cuda.graph(lambda a: a @ w, x), (x @ w).cpu()

    replay, expected = make()
    _others = [gs.zeros(8, 8, device="cuda") for _ in range(20)]
    assert gs.equal(replay(x).cpu(), expected)


@gpu
def test_a_step_that_leaves_another_stream_set():
    x, side = on_cuda(rand(4)), cuda.Stream()
    before = cuda.current_stream()
    try:
        with pytest.raises(RuntimeError, match="another stream set"):
            cuda.Graph(lambda a: (cuda.set_stream(side), a + 1)[1], x)
    finally:
        cuda.set_stream(before)
    assert_close((x + 1).cpu(), x.cpu() + 1)  # nothing is recorded any more
    assert_close(cuda.graph(lambda a: a * 2, x)(x).cpu(), x.cpu() * 2)


@gpu
def test_a_graph_does_not_launch_another():
    x = on_cuda(rand(4))
    inner = cuda.graph(lambda a: a * 2, x)
    with pytest.raises(RuntimeError, match="while another one is recorded"):
        cuda.Graph(lambda a: inner(a) + 1, x)
    assert_close(inner(x).cpu(), x.cpu() * 2)


@gpu
def test_the_trainer_captures_a_step():
    def history(capture):
        gs.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3)).to(
            "cuda"
        )
        trainer = gs.Trainer(
            model,
            nn.CrossEntropyLoss(),
            gs.optim.Adam(model.parameters(), lr=0.01),
            clip_grad_norm=1.0,
            progress=False,
            capture=capture,
        )
        data = rand(36, 4), gs.randint(0, 3, (36,))
        trainer.fit(data, data, epochs=3, batch_size=8, seed=1)  # the last batch is a short one
        return [(row["loss"], row["accuracy"], row["val_loss"]) for row in trainer.history.rows]

    assert history(True) == history(False)
    model = nn.Linear(2, 2).to("cuda")
    parts = model, nn.MSELoss(), gs.optim.SGD(model.parameters())
    with pytest.raises(ValueError, match="capture=True needs accumulate=1, got 2"):
        gs.Trainer(*parts, capture=True, accumulate=2)
    with pytest.raises(ValueError, match="GradientFlow looks at gradients within a step"):
        gs.Trainer(*parts, capture=True, callbacks=[gs.train.GradientFlow()])
    diverges = gs.Trainer(*parts, capture=True, progress=False, metrics=())
    data = gs.full((16, 2), np.inf), gs.zeros(16, 2)
    with pytest.raises(FloatingPointError, match="epoch 1, batch 1"):
        diverges.fit(data, batch_size=4)
