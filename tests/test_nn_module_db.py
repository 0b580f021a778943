"""Every layer that torch has too, on torch's own module inputs: outputs and all gradients.

`module_db` is the table from which torch tests its modules; it needs the package `expecttest`.
Samples run in float64, in training and in evaluation. What is left out is listed with the reason,
and counted in `test_coverage`.
"""

import collections
import inspect
import re
import warnings

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

# Layers that gradsmith does not have.
ABSENT = {
    "LinearCrossEntropyLoss": "not offered",
    "MultiheadAttention": "attention is out of scope",
    "Transformer": "attention is out of scope",
    "TransformerDecoderLayer": "attention is out of scope",
    "TransformerEncoder": "attention is out of scope",
    "TransformerEncoderLayer": "attention is out of scope",
    **{
        f"Lazy{kind}{n}d": "no lazy layers" for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)
    },
}

# Samples that are not compared, or only their outputs: a pattern of "name description arguments",
# and the reason.
SKIPPED: dict[str, str] = {}
OUTPUTS_ONLY = {
    r"^LPPool\dd norm 1\.5": "powers of negative numbers: NaN in both, elsewhere",
    r"^CTCLoss": "torch's gradient takes log_softmax for granted: tests/test_nn_losses.py",
}

# torch's gradient of hardsigmoid-like ops holds single-precision constants, also for float64.
LOOSE = {"Hardswish": 1e-6}


def samples():
    """All samples of the layers that both have, as (name, kind of run, number, sample)."""
    found = []
    torch.manual_seed(0)  # far out in the tails torch's own digits cancel (GELU near -8)
    for info in module_db:
        name = info.module_cls.__name__
        if name in ABSENT:
            continue
        modes = (True, False) if info.train_and_eval_differ else (True,)
        for training in modes:
            inputs = info.module_inputs_func(
                info,
                device="cpu",
                dtype=torch.float64,
                requires_grad=True,
                training=training,
            )
            found += [(name, training, at, sample) for at, sample in enumerate(inputs)]
    return found


def text_of(name, sample):
    made = sample.constructor_input
    given = [*made.args, *(f"{key}={value}" for key, value in made.kwargs.items())]
    return f"{name} {sample.desc or '-'} {', '.join(map(str, given))}"


def reason(reasons, name, sample):
    text = text_of(name, sample)
    return next((why for pattern, why in reasons.items() if re.search(pattern, text)), None)


def ours(value):
    """Return the argument for gradsmith: tensors, dtypes and packs of them."""
    if isinstance(value, torch.Tensor):
        return gs.tensor(value.detach().numpy().copy(), requires_grad=value.requires_grad)
    if isinstance(value, torch.dtype):
        return {torch.float64: gs.float64, torch.float32: gs.float32}[value]
    if isinstance(value, (tuple, list)):
        return type(value)(ours(item) for item in value)
    return value


def fresh(value):
    """Return torch's argument as a leaf of its own."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, (tuple, list)):
        return type(value)(fresh(item) for item in value)
    return value


def build(name, sample):
    """Return gradsmith's layer and torch's, with the same parameters."""
    made = sample.constructor_input
    theirs = getattr(torch.nn, name)(*made.args, **made.kwargs).double()
    cls = getattr(nn, name)
    known = inspect.signature(cls.__init__).parameters
    # Deprecated everywhere and gone here.
    args = {k: v for k, v in made.kwargs.items() if k in known or v is not None}
    mine = cls(*map(ours, made.args), **{k: ours(v) for k, v in args.items()}).double()
    assert list(mine.state_dict()) == list(theirs.state_dict())
    state = {k: gs.tensor(v.detach().numpy().copy()) for k, v in theirs.state_dict().items()}
    mine.load_state_dict(state)
    return mine, theirs


def flat(value):
    if isinstance(value, (tuple, list)):
        return [part for item in value for part in flat(item)]
    return [value]


def leaves(values):
    return [v for v in flat(list(values)) if isinstance(v, (gs.Tensor, torch.Tensor))]


def compare(mine, other, rtol):
    a, b = mine.detach().numpy(), other.detach().numpy()
    assert a.shape == b.shape and a.dtype == b.dtype
    scale = np.abs(b[np.isfinite(b)]).max(initial=0.0) if b.dtype.kind == "f" else 0.0
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale)


ALL = samples()


@pytest.mark.parametrize("name", sorted({name for name, *_ in ALL}))
def test_module(name):
    rtol = LOOSE.get(name, 1e-10)
    for _, training, _, sample in (entry for entry in ALL if entry[0] == name):
        if reason(SKIPPED, name, sample):
            continue
        text = text_of(name, sample)
        try:
            run(name, sample, training, rtol)
        except Exception as error:
            raise AssertionError(f"{text} (training {training}): {error}") from error


def run(name, sample, training, rtol):
    mine, theirs = build(name, sample)
    mine.train(training)
    theirs.train(training)
    call = sample.forward_input
    my_args, my_options = ours(list(call.args)), {k: ours(v) for k, v in call.kwargs.items()}
    my_out = flat(mine(*my_args, **my_options))
    args, options = fresh(list(call.args)), {k: fresh(v) for k, v in call.kwargs.items()}
    out = flat(theirs(*args, **options))
    assert len(my_out) == len(out)
    rng = np.random.default_rng(0)
    my_total, total = 0.0, 0.0
    for a, b in zip(my_out, out, strict=True):
        compare(a, b, rtol)
        if b.requires_grad:
            weights = rng.normal(size=tuple(b.shape))
            my_total = my_total + (a * gs.tensor(weights)).sum()
            total = total + (b * torch.tensor(weights)).sum()
    for key, value in theirs.state_dict().items():
        compare(mine.state_dict()[key], value, rtol)
    if not isinstance(total, torch.Tensor) or reason(OUTPUTS_ONLY, name, sample):
        return
    my_total.backward()
    total.backward()
    mine_with = leaves([my_args, list(my_options.values())]) + list(mine.parameters())
    their_with = leaves([args, list(options.values())]) + list(theirs.parameters())
    for a, b in zip(mine_with, their_with, strict=True):
        if b.grad is not None:
            compare(a.grad, b.grad, rtol)


def test_coverage():
    """A layer or a gradient that is left out must be listed; nothing that is not must be."""
    entries = {info.module_cls.__name__ for info in module_db}
    assert all(hasattr(nn, name) for name in entries - set(ABSENT))
    assert not any(hasattr(nn, name) for name in ABSENT)
    left_out = SKIPPED | OUTPUTS_ONLY
    counts = collections.Counter(reason(left_out, name, sample) for name, _, _, sample in ALL)
    compared = counts.pop(None)
    assert set(counts) == set(left_out.values())
    print(f"{len(entries - set(ABSENT))} of {len(entries)} modules; {compared} samples in full,")
    print(*(f"{count} not: {why}" for why, count in counts.items()), sep="\n")
    assert compared > 700 and sum(counts.values()) < 50
