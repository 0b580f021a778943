"""`gradsmith demo`: train on real digits, show how well it went, save the model and reload it."""

from __future__ import annotations

import os
import shlex
import sys
import time
from argparse import Namespace
from typing import Any

from gradsmith.examples import EXAMPLES

__all__ = ["NAMES", "run_demo"]

_FIRST_STEPS = {
    "digits": "a CNN on 8x8 handwritten digits",
    "mnist": "a CNN on MNIST",
    "lstm": "an LSTM that reads 8x8 handwritten digits row by row",
}
NAMES = [*_FIRST_STEPS, *EXAMPLES]


def _list() -> str:
    rows = [("first steps", name, title, "") for name, title in _FIRST_STEPS.items()]
    rows[1] = (*rows[1][:3], "the four MNIST IDX files")
    rows += [(e.topic, name, e.title, e.data) for name, e in EXAMPLES.items()]
    width = max(len(name) for _, name, _, _ in rows)
    lines, last = [], ""
    for topic, name, title, data in rows:
        if topic != last:
            lines.append(f"{topic}:")
        lines.append(f"  {name:<{width}}  {title}{f'; --data: {data}' if data else ''}")
        last = topic
    return "\n".join(lines)


def run_demo(options: Namespace) -> int:
    """Run one demo or example; returns the exit code.

    Args:
        options: what the command line gives: recipe, list, seed, data, out, and what belongs to
            some only: epochs and resume, seeds and quick.
    """
    from gradsmith.cli import missing_packages

    if options.list:
        print(_list())
        return 0
    name = options.recipe
    foreign = ("seeds", "quick") if name in _FIRST_STEPS else ("epochs", "resume")
    for option in foreign:
        if getattr(options, option):
            return _fail(f"--{option} does not apply to {name}")
    needed: list[str | tuple[str, ...]] = ["matplotlib", ("rich", "tqdm")]
    if name in ("digits", "lstm", "diagnosis"):
        needed.insert(0, "sklearn")
    missing = missing_packages(*needed)
    if missing:
        names = ", ".join(missing)
        return _fail(f"the demo needs {names}: pip install 'gradsmith[demo]'")
    if name == "mnist" and options.data is None:
        return _fail("demo mnist needs --data DIR, the folder of the four MNIST IDX files")
    try:
        if name in _FIRST_STEPS:
            _run(options)
        else:
            _run_example(options)
    except (OSError, ValueError) as error:  # files that are missing, corrupt or not writable
        return _fail(str(error))
    return 0


def _run_example(options: Namespace) -> None:
    import gradsmith as gs
    from gradsmith.examples import load

    from .harness import Options

    name = options.recipe
    folder = options.out / name
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):  # better now than after hours of training
        raise PermissionError(f"{folder} is not writable")
    print(f"gradsmith {gs.__version__}: {EXAMPLES[name].title}", flush=True)
    load(name)(Options(options.data, options.out, options.seed, options.seeds, options.quick))


def _resume_line(options: Namespace) -> str:
    """The command that continues this very run: schedule and order follow from its options."""
    words = ["gradsmith", "demo", options.recipe, "--resume", "--seed", str(options.seed)]
    for name in ("epochs", "data", "out"):
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def _fail(message: str) -> int:
    print(f"gradsmith: {message}", file=sys.stderr)
    return 1


def _run(options: Namespace) -> None:
    import gradsmith as gs
    from gradsmith.optim.lr_scheduler import OneCycleLR

    from .recipes import RECIPES
    from .report import accuracy_table, draw

    start = time.perf_counter()
    recipe = RECIPES[options.recipe]
    print(f"gradsmith {gs.__version__}: {recipe.title}, seed {options.seed}", flush=True)
    train, held_out = recipe.load(True, options.data), recipe.load(False, options.data)
    print(f"{len(train):,} images to learn from, {len(held_out):,} held out\n", flush=True)

    gs.manual_seed(options.seed)
    epochs = options.epochs or recipe.epochs
    loader = gs.data.DataLoader(
        train,
        recipe.batch_size,
        shuffle=True,
        num_workers=1,
        generator=options.seed,
        transform=recipe.transform,
    )
    model = recipe.build()
    print(model.summary((1, *train.tensors[0].shape[1:])), end="\n\n", flush=True)
    optimizer = gs.optim.AdamW(
        model.parameters(), lr=recipe.max_lr, weight_decay=recipe.weight_decay
    )
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / f"{options.recipe}.checkpoint.safetensors"
    trainer = gs.Trainer(
        model,
        gs.nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing),
        optimizer,
        scheduler=OneCycleLR(
            optimizer, recipe.max_lr, total_steps=epochs * len(loader), div_factor=5
        ),
        clip_grad_norm=recipe.clip_grad_norm,
        callbacks=[gs.train.Checkpoint(checkpoint)],
    )
    try:
        history = trainer.fit(
            loader, held_out, epochs=epochs, resume=checkpoint if options.resume else None
        )
    except KeyboardInterrupt:
        if trainer.epoch:
            print(f"continue with: {_resume_line(options)}")
        raise

    images, labels = (tensor.numpy() for tensor in held_out.tensors)
    outputs = trainer.predict(held_out.tensors[0])
    predicted = outputs.numpy().argmax(1)
    print(f"\n{accuracy_table(labels, predicted)}\n")

    path = options.out / f"{options.recipe}.safetensors"
    gs.save(model.state_dict(), path)
    restored = recipe.build()
    restored.load_state_dict(gs.load(path))
    again = gs.train.predict(restored, held_out.tensors[0]).numpy().argmax(1)
    same = int((again == predicted).sum())
    print(f"model: {path}, {path.stat().st_size:,} bytes")
    print(f"loaded back: {same:,} of {len(again):,} predictions are the same")
    print(
        f"first images: labels {_digits(labels)}, saved {_digits(predicted)}, "
        f"loaded {_digits(again)}"
    )
    picture = options.out / f"{options.recipe}.png"
    accuracy = float((predicted == labels).mean())
    title = f"gradsmith demo: {recipe.title}, {100 * accuracy:.2f} % of held-out images right"
    draw(picture, title, history, images, labels, predicted)
    print(f"picture: {picture}")
    seconds = time.perf_counter() - start
    print(f"held-out accuracy {100 * accuracy:.2f} % after {seconds:.1f} s", flush=True)


def _digits(classes: Any) -> str:
    return "".join(map(str, classes[:16]))
