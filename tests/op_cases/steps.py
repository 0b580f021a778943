"""Optimizer steps and gradient clipping: lists of tensors, written in place."""

import gradsmith as gs
import numpy as np

from ._case import OpCase, S, uniform


def _changed(name, lists):
    """The op on copies; what it wrote into the first `lists` arguments."""

    def fn(*args):
        copies = [[t.clone() for t in a] if isinstance(a, list) else a for a in args]
        result = getattr(gs._core, name)(*copies)
        changed = [t for a in copies[:lists] for t in a]
        return changed if result is None else [result, *changed]

    return fn


def _sgd(params, grads, buffers, lr, momentum, dampening, decay, nesterov, maximize):
    out, kept = [], []
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        g = (-g if maximize else g) + decay * p
        if momentum:
            b = momentum * buffers[i] + (1 - dampening) * g
            kept.append(b)
            g = g + momentum * b if nesterov else b
        out.append(p - lr * g)
    return [*out, *grads, *kept]


def _sgd_samples(rng):
    def make(momentum, *rest, buffers="zero"):
        shapes = [(17,), (3, 4), (1,)]
        first = [uniform(rng, *s) for s in shapes], [uniform(rng, *s) for s in shapes]
        held = [uniform(rng, *s) if buffers == "old" else np.zeros(s) for s in shapes]
        return S(*first, held if momentum else [], 0.1, momentum, *rest, layouts=False)

    yield make(0.0, 0.0, 0.0, False, False)
    yield make(0.0, 0.0, 0.2, False, True)
    yield make(0.9, 0.0, 0.1, True, False)
    yield make(0.9, 0.3, 0.1, False, False)
    yield make(0.9, 0.3, 0.0, False, False, buffers="old")
    yield S([np.zeros(0)], [np.zeros(0)], [], 0.1, 0.0, 0.0, 0.0, False, False, layouts=False)


def _adam(params, grads, ms, vs, tops, step, lr, b1, b2, eps, decay, amsgrad, decoupled, maximize):
    out = []
    for i, p in enumerate(params):
        g = -grads[i] if maximize else grads[i]
        if decoupled:
            p = p * (1 - lr * decay)
        else:
            g = g + decay * p
        m = b1 * ms[i] + (1 - b1) * g
        v = b2 * vs[i] + (1 - b2) * g * g
        top = np.maximum(tops[i], v) if amsgrad else None
        root = np.sqrt((top if amsgrad else v) / (1 - b2**step)) + eps
        out.append((p - lr * m / (1 - b1**step) / root, m, v, top))
    tails = [[o[k] for o in out] for k in range(4)]
    return [*tails[0], *grads, *tails[1], *tails[2], *(tails[3] if amsgrad else [])]


def _adam_samples(rng):
    for step, decay, amsgrad, decoupled, maximize in (
        (1, 0.0, False, False, False),
        (3, 0.1, False, False, True),
        (3, 0.1, False, True, False),
        (2, 0.1, True, True, False),
    ):
        shapes = [(17,), (3, 4), (1,)]
        lists = [[uniform(rng, *s) for s in shapes] for _ in range(2)]
        moments = [[uniform(rng, *s, low=0.01) for s in shapes] for _ in range(3)]
        yield S(*lists, *moments[:2], moments[2] if amsgrad else [], step, 0.01, 0.9, 0.999, 1e-8,
                decay, amsgrad, decoupled, maximize, layouts=False)  # fmt: skip


def _rmsprop(params, grads, squares, averages, buffers, lr, alpha, eps, decay, momentum, centered,
             maximize):  # fmt: skip
    out = []
    for i, p in enumerate(params):
        g = (-grads[i] if maximize else grads[i]) + decay * p
        v = alpha * squares[i] + (1 - alpha) * g * g
        a = alpha * averages[i] + (1 - alpha) * g if centered else 0
        step = g / (np.sqrt(v - a * a) + eps)
        b = momentum * buffers[i] + step if momentum else 0
        out.append((p - lr * (b if momentum else step), v, a, b))
    tails = [[o[k] for o in out] for k in range(4)]
    return [*tails[0], *grads, *tails[1], *(tails[2] if centered else []),
            *(tails[3] if momentum else [])]  # fmt: skip


def _rmsprop_samples(rng):
    shapes = [(17,), (3, 4), (1,)]
    for decay, momentum, centered, maximize in (
        (0.0, 0.0, False, False),
        (0.1, 0.9, False, True),
        (0.0, 0.5, True, False),
    ):
        lists = [[uniform(rng, *s) for s in shapes] for _ in range(2)]
        squares = [uniform(rng, *s, low=1.5, high=2.0) for s in shapes]
        averages = [uniform(rng, *s, low=-0.5, high=0.5) for s in shapes] if centered else []
        buffers = [uniform(rng, *s) for s in shapes] if momentum else []
        yield S(*lists, squares, averages, buffers, 0.01, 0.9, 1e-8, decay, momentum, centered,
                maximize, layouts=False)  # fmt: skip


def _adagrad(params, grads, sums, step, lr, lr_decay, decay, eps, maximize):
    out = []
    for i, p in enumerate(params):
        g = (-grads[i] if maximize else grads[i]) + decay * p
        total = sums[i] + g * g
        out.append((p - lr / (1 + (step - 1) * lr_decay) * g / (np.sqrt(total) + eps), total))
    return [*(o[0] for o in out), *grads, *(o[1] for o in out)]


def _adagrad_samples(rng):
    shapes = [(17,), (3, 4), (1,)]
    for step, lr_decay, decay, maximize in ((1, 0.0, 0.0, False), (3, 0.2, 0.1, True)):
        lists = [[uniform(rng, *s) for s in shapes] for _ in range(2)]
        sums = [uniform(rng, *s, low=0.1) for s in shapes]
        yield S(*lists, sums, step, 0.1, lr_decay, decay, 1e-10, maximize, layouts=False)


def _lists(rng, states, low=0.1):
    """Parameters and gradients, then lists of states that are positive."""
    shapes = [(17,), (3, 4), (1,)]
    lists = [[uniform(rng, *s) for s in shapes] for _ in range(2)]
    return lists + [[uniform(rng, *s, low=low) for s in shapes] for _ in range(states)]


def _stepped(one):
    """The reference of a step from that of one parameter: one(p, g, *states, *numbers)."""

    def reference(params, grads, *rest):
        lists = [a for a in rest if isinstance(a, list)]
        numbers = rest[len(lists) :]
        out = [
            one(p, g, *states, *numbers)
            for p, g, *states in zip(params, grads, *lists, strict=True)
        ]
        first, *others = zip(*out, strict=True)
        return [*first, *grads, *(a for each in others for a in each)]

    return reference


def _moments(p, g, m, v, lr, b1, b2, decay, decoupled, maximize):
    g = -g if maximize else g
    if decoupled:
        p = p * (1 - lr * decay)
    else:
        g = g + decay * p
    return p, g, b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g


def _nadam(p, g, m, v, step, lr, b1, b2, eps, decay, mu, next_mu, product, decoupled, maximize):
    p, g, m, v = _moments(p, g, m, v, lr, b1, b2, decay, decoupled, maximize)
    ahead = g * (1 - mu) / (1 - product) + m * next_mu / (1 - product * next_mu)
    return p - lr * ahead / (np.sqrt(v / (1 - b2**step)) + eps), m, v


def _radam(p, g, m, v, step, lr, b1, b2, eps, decay, decoupled, maximize):
    p, g, m, v = _moments(p, g, m, v, lr, b1, b2, decay, decoupled, maximize)
    ahead, rest = m / (1 - b1**step), 1 - b2**step
    most = 2 / (1 - b2) - 1
    length = most - 2 * step * b2**step / rest
    if length > 5:
        known = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
        ahead = ahead * np.sqrt(known * rest) / (np.sqrt(v) + eps)
    return p - lr * ahead, m, v


def _adamax(p, g, m, u, step, lr, b1, b2, eps, decay, maximize):
    g = (-g if maximize else g) + decay * p
    m, u = b1 * m + (1 - b1) * g, np.maximum(b2 * u, np.abs(g) + eps)
    return p - lr / (1 - b1**step) * m / u, m, u


def _adadelta(p, g, v, u, lr, rho, eps, decay, maximize):
    g = (-g if maximize else g) + decay * p
    v = rho * v + (1 - rho) * g * g
    d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
    return p - lr * d, v, rho * u + (1 - rho) * d * d


def _asgd(p, g, ax, eta, lambd, mu, decay, maximize):
    g = (-g if maximize else g) + decay * p
    p = p * (1 - lambd * eta) - eta * g
    return p, ax + (p - ax) * mu


def _rprop(p, g, previous, sizes, down, up, low, high, maximize):
    g = -g if maximize else g
    agreement = np.sign(g) * np.sign(previous)
    sizes = np.clip(
        sizes * np.where(agreement > 0, up, np.where(agreement < 0, down, 1)), low, high
    )
    g = np.where(agreement < 0, 0, g)
    return p - np.sign(g) * sizes, g, sizes


def _lion(p, g, m, lr, b1, b2, decay, maximize):
    g = -g if maximize else g
    p = p * (1 - lr * decay) - lr * np.sign(b1 * m + (1 - b1) * g)
    return p, b2 * m + (1 - b2) * g


def _samples(states, *numbers, low=0.1):
    """A sample for each tuple of numbers, and one without elements."""

    def make(rng):
        for each in numbers:
            yield S(*_lists(rng, states, low), *each, layouts=False)
        yield S(*[[np.zeros(0)]] * (2 + states), *numbers[0], layouts=False)

    return make


def _clip_norm(grads, max_norm, norm_type=2.0):
    total = np.linalg.norm(np.concatenate([g.ravel() for g in grads]), norm_type)
    return [total, *(g * min(1, max_norm / (total + 1e-6)) for g in grads)]


def _clip_samples(rng, *bounds):
    for bound in bounds:
        yield S([uniform(rng, 17), uniform(rng, 3, 4)], *bound, layouts=False)


STEPS = [
    OpCase("sgd_step_", _sgd, _sgd_samples, fn=_changed("sgd_step_", 3), atol=1e-6, atol64=1e-14),
    OpCase("adam_step_", _adam, _adam_samples, fn=_changed("adam_step_", 5), atol=1e-6,
           atol64=1e-14, rtol=2e-6, rtol64=1e-12),
    OpCase("rmsprop_step_", _rmsprop, _rmsprop_samples, fn=_changed("rmsprop_step_", 5), atol=1e-6,
           atol64=1e-14, rtol=2e-6, rtol64=1e-12),
    OpCase("adagrad_step_", _adagrad, _adagrad_samples, fn=_changed("adagrad_step_", 3), atol=1e-6,
           atol64=1e-14, rtol=2e-6, rtol64=1e-12),
    *(
        OpCase(name, _stepped(one), samples, fn=_changed(name, 4 if states == 2 else 3), atol=1e-6,
               atol64=1e-14, rtol=2e-6, rtol64=1e-12)
        for name, one, states, samples in (
            ("nadam_step_", _nadam, 2, _samples(
                2, (1, 0.01, 0.9, 0.99, 1e-8, 0.0, 0.45, 0.46, 0.45, False, False),
                (3, 0.01, 0.9, 0.99, 1e-8, 0.1, 0.5, 0.6, 0.2, False, True),
                (3, 0.01, 0.4, 0.99, 1e-3, 0.1, 0.0, 0.0, 0.0, True, False))),
            ("radam_step_", _radam, 2, _samples(
                2, (1, 0.01, 0.9, 0.99, 1e-8, 0.0, False, False),
                (3, 0.01, 0.9, 0.99, 1e-8, 0.1, False, True),
                (9, 0.01, 0.4, 0.9, 1e-3, 0.1, True, False),
                (2, 0.01, 0.4, 0.1, 1e-3, 0.0, False, False))),
            ("adamax_step_", _adamax, 2, _samples(
                2, (1, 0.01, 0.9, 0.99, 1e-8, 0.0, False), (3, 0.01, 0.3, 0.5, 1e-3, 0.1, True))),
            ("adadelta_step_", _adadelta, 2, _samples(
                2, (1.0, 0.9, 1e-6, 0.0, False), (0.5, 0.3, 1e-3, 0.1, True))),
            ("asgd_step_", _asgd, 1, _samples(
                1, (0.1, 1e-4, 1.0, 0.0, False), (0.1, 0.1, 0.25, 0.1, True))),
            ("rprop_step_", _rprop, 2, _samples(
                2, (0.5, 1.2, 1e-6, 50.0, False), (0.5, 1.2, 0.3, 0.6, True), low=-1)),
            ("lion_step_", _lion, 1, _samples(
                1, (0.01, 0.9, 0.99, 0.0, False), (0.01, 0.3, 0.4, 0.1, True), low=-1)),
        )
    ),
    OpCase("clip_grad_norm_", _clip_norm, lambda rng: _clip_samples(
        rng, (1.0,), (100.0,), (0.5, 1.0), (0.5, np.inf), (0.5, 3.0)),
        fn=_changed("clip_grad_norm_", 1), rtol=3e-6, rtol64=1e-12),
    OpCase("clip_grad_value_", lambda grads, v: [np.clip(g, -v, v) for g in grads],
           lambda rng: _clip_samples(rng, (0.5,)), fn=_changed("clip_grad_value_", 1)),
]  # fmt: skip
CASES = [OpCase(**{**c.__dict__, "grad": False, "torch": None}) for c in STEPS]
