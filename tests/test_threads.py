"""Threads: the same bits for any number of them, several Python threads at once, fork."""

import os
import signal
import subprocess
import sys
import threading
import time

import gradsmith as gs
import numpy as np
import pytest

LARGE = 200_000  # elements: enough to be split


@pytest.fixture(autouse=True)
def restore_threads():
    before = gs.get_num_threads()
    yield
    gs.set_num_threads(before)


def work():
    """One of each kind of driver; a list of arrays."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return gs.from_numpy(rng.normal(size=shape).astype(np.float32)).requires_grad_()

    x, m, images = draw(LARGE), draw(300, 257), draw(4, 6, 40, 33)
    weight, filters = draw(70, 257), draw(8, 6, 3, 3)
    gs.manual_seed(1)
    outputs = [
        gs.exp(x),
        x.sum().reshape(1),
        gs.var(m, 0),
        gs.softmax(m, 1),
        m @ weight.t(),
        gs.conv2d(images, filters, padding=1),
        gs.max_pool2d(images, 2),
        gs.layer_norm(m, 257),
        gs.dropout(x, 0.5),
        gs.cross_entropy(m, gs.arange(300) % 257).reshape(1),
        gs.embedding(gs.arange(5000) % 300, m),
        gs.cumsum(m, 0),
        gs.rand(LARGE),
        gs.norm(x).reshape(1),
    ]
    total = gs.zeros(1)
    for y in outputs:
        if y.requires_grad:
            total = total + (y * y).sum()
    total.backward()
    outputs += [v.grad for v in (x, m, images, weight, filters)]
    return [y.detach().numpy().copy() for y in outputs]


def test_results_do_not_depend_on_the_number_of_threads():
    gs.set_num_threads(1)
    expected = work()
    for n in (2, 3):
        gs.set_num_threads(n)
        assert gs.get_num_threads() == n
        for k, (a, b) in enumerate(zip(work(), expected, strict=True)):
            assert a.tobytes() == b.tobytes(), f"output {k} with {n} threads"


def test_set_num_threads_validation():
    before = gs.get_num_threads()
    for bad in (0, -1, 100_000):
        with pytest.raises(ValueError, match=str(bad)):
            gs.set_num_threads(bad)
    for bad in (1.5, "2", None):
        with pytest.raises(TypeError):
            gs.set_num_threads(bad)
    assert gs.get_num_threads() == before


def in_threads(n, call):
    errors = []

    def run(k):
        try:
            call(k)
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
        assert not t.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


def test_several_python_threads_at_once():
    gs.set_num_threads(2)
    a = gs.from_numpy(np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32))
    expected = (a @ a).numpy().tobytes()

    def call(_):
        for _ in range(20):
            assert (a @ a).numpy().tobytes() == expected
            x = gs.ones(LARGE).requires_grad_()
            (gs.exp(x) * 2).sum().backward()
            assert abs(x.grad[0].item() - 2 * np.e) < 1e-4

    in_threads(4, call)


def test_backward_of_one_graph_in_another_thread():
    x = gs.ones(LARGE).requires_grad_()
    y = (x * x).sum()
    seen = []
    x.register_hook(lambda g: seen.append(threading.current_thread()))
    in_threads(1, lambda _: y.backward())
    assert x.grad[0].item() == 2 and len(seen) == 1


def test_modes_belong_to_a_thread():
    inside = []
    with gs.no_grad():
        in_threads(1, lambda _: inside.append(gs.is_grad_enabled()))
    assert inside == [True]


def test_the_gil_is_free_during_large_ops():
    gs.set_num_threads(1)
    a = gs.ones(1200, 1200)
    stop, ticks = threading.Event(), [0]

    def tick():
        while not stop.wait(0.001):
            ticks[0] += 1

    other = threading.Thread(target=tick)
    other.start()
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        a @ a
    stop.set()
    other.join()
    assert ticks[0] > 5


def run_python(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_the_pool_is_alive():
    code = """
import os, warnings
import gradsmith as gs
warnings.simplefilter("ignore")
gs.set_num_threads(2)
x = gs.ones(400, 400)
expected = (x @ x).sum().item()
for _ in range(5):
    child = os.fork()
    if child == 0:
        ok = (gs.ones(400, 400) @ x).sum().item() == expected
        y = gs.ones(300000).requires_grad_()
        gs.exp(y).sum().backward()
        os._exit(0 if ok else 1)
    assert (x @ x).sum().item() == expected
    assert os.waitpid(child, 0)[1] == 0
print("done")
"""
    result = run_python(code)
    assert result.stdout == "done\n", result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line_on_the_command_line():
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "gradsmith", "info"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr.startswith("gradsmith: ") and result.stderr.count("\n") == 1


def test_a_bad_number_of_threads_is_one_line_on_the_command_line():
    result = subprocess.run(
        [sys.executable, "-m", "gradsmith", "info"],
        env={**os.environ, "GRADSMITH_NUM_THREADS": "zz"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("gradsmith: GRADSMITH_NUM_THREADS is 'zz'")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("value", "message"), [("3", None), ("0", "GRADSMITH_NUM_THREADS"), ("x", "NUM_THREADS")]
)
def test_environment_variable(value, message):
    result = run_python(
        "import gradsmith as gs; print(gs.get_num_threads())", GRADSMITH_NUM_THREADS=value
    )
    if message is None:
        assert result.stdout.strip() == value, result.stderr
    else:
        # Refused in words, or ignored with a warning: never a crash.
        assert result.returncode >= 0
        assert message in result.stderr


def test_affinity_limits_the_threads():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs sched_setaffinity")
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "import gradsmith as gs; print(gs.get_num_threads())"
    )
    env = {k: v for k, v in os.environ.items() if k != "GRADSMITH_NUM_THREADS"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "1"


def test_exit_with_a_busy_pool():
    code = """
import threading, gradsmith as gs
gs.set_num_threads(2)
x = gs.ones(600, 600)
def loop():
    while True:
        x @ x
threading.Thread(target=loop, daemon=True).start()
for _ in range(5): x @ x
print("done", flush=True)
"""
    result = run_python(code)
    assert result.stdout == "done\n" and result.returncode == 0, result


def test_interrupt_reaches_python():
    code = """
import signal, gradsmith as gs
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
x = gs.ones(300, 300)
try:
    print("ready", flush=True)
    while True:
        x @ x
except KeyboardInterrupt:
    print("stopped", flush=True)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            child.send_signal(signal.SIGINT)
            assert child.communicate(timeout=20)[0] == "stopped\n"
        finally:
            child.kill()


def test_backward_of_shared_graphs_at_once():
    """Two losses over one part of a graph: each either adds its gradient or says it was freed."""
    for _ in range(40):
        x, w = gs.ones(100, 100), gs.ones(100, 100, requires_grad=True)
        shared = x @ w
        losses = [shared.sum(), (shared * 1.0).sum()]
        errors = []

        def run(loss, errors=errors):
            try:
                loss.backward()
            except RuntimeError as error:
                errors.append(str(error))

        threads = [threading.Thread(target=run, args=(loss,)) for loss in losses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not any("changed" in text for text in errors), errors
        assert len(errors) < 2
        assert set(w.grad.numpy().ravel()) <= {100.0 * (2 - len(errors))}


@pytest.mark.parametrize("kind", ["hook", "function", "numpy", "dlpack", "large"])
def test_exit_while_threads_need_the_interpreter(kind):
    """Threads that run Python code or free its memory from C++ must not abort the process."""
    code = f"""
import threading, time, numpy as np, gradsmith as gs
kind = "{kind}"
A = np.ones((300, 300), np.float32)
class Same(gs.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, g):
        return g * 2
def loop():
    x = gs.ones(300, 300, requires_grad=True)
    while True:
        y = x * 2
        if kind == "hook":
            y.register_hook(lambda g: g * 1)
        elif kind == "function":
            y = Same.apply(x)
        elif kind == "numpy":
            y = x * gs.from_numpy(A.copy())
        elif kind == "dlpack":
            y = x * gs.from_dlpack(A.copy())
        y.sum().backward()
        x.grad = None
for _ in range(3):
    threading.Thread(target=loop, daemon=True).start()
time.sleep(0.2)
print("done", flush=True)
"""
    for _ in range(3):
        result = run_python(code)
        assert result.stdout == "done\n" and result.returncode == 0, result


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_packed_sequences_without_gradients(kind):
    """Threads that own some sequences are in different steps; nothing may be shared by steps."""
    rng = np.random.default_rng(0)
    gs.manual_seed(0)
    layer = getattr(gs.nn, kind)(24, 40, bidirectional=True)
    lengths = rng.integers(1, 61, 128)
    x = gs.from_numpy(rng.normal(size=(int(lengths.max()), 128, 24)).astype(np.float32))
    packed = gs.nn.utils.rnn.pack_padded_sequence(x, lengths.tolist(), enforce_sorted=False)
    results = set()
    for threads in (1, *[2, 3] * 8):
        gs.set_num_threads(threads)
        with gs.no_grad():
            y, h = layer(packed)
        last = h[0] if isinstance(h, tuple) else h
        results.add(y.data.numpy().tobytes() + last.numpy().tobytes())
    assert len(results) == 1
