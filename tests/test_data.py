"""Datasets, samplers, the loader (the same batches for any number of workers), IDX files."""

import gzip
import struct
import threading
from collections import namedtuple

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import data
from gradsmith.data import datasets
from gradsmith.data.dataset import BatchDataset, gives_batches


def ids(loader):
    """The sample numbers of each batch of an epoch."""
    return [batch[0].numpy().tolist() for batch in loader]


def numbered(count=10):
    return data.TensorDataset(gs.arange(count), gs.arange(count) * 2)


class Plain(data.Dataset):
    """A dataset without `take`, which notes the threads that read it."""

    def __init__(self, count):
        self.count = count
        self.threads = set()

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.threads.add(threading.get_ident())
        return np.float32(index) * np.ones(2, np.float32), index


def test_tensor_dataset():
    dataset = numbered()
    assert len(dataset) == 10 and dataset[3][1].item() == 6
    assert [t.numpy().tolist() for t in dataset.take(np.array([7, 0]))] == [[7, 0], [14, 0]]
    array = np.ones((4, 2), np.float32)
    shared = data.TensorDataset(array)
    array[2] = 5
    assert shared[2][0].numpy().tolist() == [5, 5]
    for bad in ((), (gs.zeros(3), gs.zeros(4)), (gs.zeros(()),)):
        with pytest.raises(ValueError, match="TensorDataset"):
            data.TensorDataset(*bad)


def test_subset_concat_and_split():
    dataset = numbered()
    subset = data.Subset(dataset, [8, 2, 5])
    assert [subset[i][0].item() for i in range(3)] == [8, 2, 5]
    assert ids(data.DataLoader(data.Subset(subset, [2, 0]), 2)) == [[5, 8]]
    with pytest.raises(IndexError, match="index 10 out of range for 10"):
        data.Subset(dataset, [10])
    both = data.ConcatDataset([subset, dataset])
    assert len(both) == 13 and both[2][0].item() == 5 and both[3][0].item() == 0
    assert both[-1][0].item() == 9
    with pytest.raises(IndexError):
        both[13]
    parts = data.random_split(dataset, [0.5, 0.25, 0.25], generator=1)
    assert [len(p) for p in parts] == [6, 2, 2] or sum(len(p) for p in parts) == 10
    assert sorted(np.concatenate([p.indices for p in parts]).tolist()) == list(range(10))
    again = data.random_split(dataset, [0.5, 0.25, 0.25], generator=1)
    assert all((a.indices == b.indices).all() for a, b in zip(parts, again, strict=True))
    for lengths in ([3, 3], [0.5, 0.6], [12, -2]):
        with pytest.raises(ValueError, match="random_split"):
            data.random_split(dataset, lengths)


def test_samplers():
    dataset = numbered()
    assert list(data.SequentialSampler(dataset)) == list(range(10))
    sampler = data.RandomSampler(dataset, generator=4)
    first = list(sampler)
    assert sorted(first) == list(range(10)) and list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert len(list(data.RandomSampler(dataset, num_samples=25))) == 25
    drawn = list(data.RandomSampler(dataset, replacement=True, num_samples=500, generator=0))
    assert set(drawn) == set(range(10))
    assert sorted(data.SubsetRandomSampler([3, 9, 4])) == [3, 4, 9]
    weighted = data.WeightedRandomSampler([0, 1, 3], 4000, generator=0)
    counts = np.bincount(list(weighted), minlength=3)
    assert counts[0] == 0 and 0.7 < counts[2] / 4000 < 0.8
    assert sorted(data.WeightedRandomSampler([1, 0, 1], 2, replacement=False)) == [0, 2]
    batches = data.BatchSampler(range(7), 3)
    assert list(batches) == [[0, 1, 2], [3, 4, 5], [6]] and len(batches) == 3
    assert len(data.BatchSampler(range(7), 3, drop_last=True)) == 2
    for bad in (
        lambda: data.BatchSampler(range(7), 0),
        lambda: data.RandomSampler(dataset, num_samples=0),
        lambda: data.WeightedRandomSampler([1, -1], 2),
        lambda: data.WeightedRandomSampler([1, 0], 2, replacement=False),
        lambda: data.RandomSampler(dataset, generator=-1),
    ):
        with pytest.raises(ValueError):
            bad()


@pytest.mark.parametrize("dataset", [numbered(23), Plain(23)], ids=["tensors", "items"])
@pytest.mark.parametrize("drop_last", [False, True])
def test_same_batches_for_any_number_of_workers(dataset, drop_last):
    def noise(batch, rng):
        return (*batch, rng.normal(size=2))

    def epochs(workers):
        loader = data.DataLoader(
            dataset,
            4,
            shuffle=True,
            num_workers=workers,
            drop_last=drop_last,
            generator=9,
            transform=noise,
        )
        assert len(loader) == (5 if drop_last else 6)
        rows = [(b[1].numpy().tolist(), b[2].tolist()) for _ in range(3) for b in loader]
        return rows

    first = epochs(0)
    assert epochs(1) == first and epochs(3) == first
    assert first[0] != first[len(first) // 3]  # a new order in the second epoch
    assert first[0][1] != first[1][1]


def test_order_follows_the_global_seed_and_the_epoch():
    def order(seed, epoch=0):
        gs.manual_seed(seed)
        loader = data.DataLoader(numbered(), 10, shuffle=True)
        loader.set_epoch(epoch)
        return ids(loader)

    assert order(1) == order(1) and order(1) != order(2) and order(1) != order(1, epoch=1)


def test_state_continues_the_sequence():
    loader = data.DataLoader(numbered(), 4, shuffle=True)
    first = ids(loader)
    state = loader.state_dict()
    second, third = ids(loader), ids(loader)
    other = data.DataLoader(numbered(), 4, shuffle=True, generator=123)
    other.load_state_dict(state)
    assert [ids(other), ids(other)] == [second, third] and first != second


def test_threads_prepare_batches_and_end():
    dataset = Plain(40)
    before = threading.active_count()
    for _ in data.DataLoader(dataset, 4, num_workers=2):
        pass
    assert threading.get_ident() not in dataset.threads
    iterator = iter(data.DataLoader(dataset, 4, num_workers=2))
    next(iterator)
    iterator.close()
    assert threading.active_count() == before


def test_an_error_in_a_worker_arrives():
    class Bad(Plain):
        def __getitem__(self, index):
            if index == 5:
                raise RuntimeError("sample 5 is broken")
            return super().__getitem__(index)

    with pytest.raises(RuntimeError, match="sample 5 is broken"):
        list(data.DataLoader(Bad(8), 2, num_workers=2))


def test_collate():
    Pair = namedtuple("Pair", "a b")
    sample = {"x": np.ones(2, np.float32), "y": [1, 2.5], "p": Pair(True, "s")}
    batch = data.default_collate([sample, sample])
    assert batch["x"].shape == (2, 2) and batch["x"].dtype == gs.float32
    assert batch["y"][0].dtype == gs.int64 and batch["y"][1].dtype == gs.float64
    assert batch["p"].a.dtype == gs.bool and batch["p"].b == ["s", "s"]
    assert data.default_collate([gs.ones(3), gs.ones(3)]).shape == (2, 3)
    with pytest.raises(TypeError, match="got object; pass collate_fn"):
        data.default_collate([object()])
    with pytest.raises(ValueError, match="differ in length"):
        data.default_collate([(1,), (1, 2)])
    assert list(data.DataLoader(Plain(3), 2, collate_fn=len)) == [2, 1]


@pytest.mark.parametrize(
    ("batch", "dtype"),
    [
        ([1, 2.5], gs.float64),
        ([1, 2], gs.int64),
        ([True, False], gs.bool),
        ([True, 2], gs.int64),
        ([np.float32(1), np.float32(2)], gs.float32),
        ([np.int32(1), np.int32(2)], gs.int32),
        ([np.uint16(1), np.uint16(2)], gs.int64),
    ],
)
def test_collate_keeps_numbers(batch, dtype):
    got = data.default_collate(batch)
    assert got.dtype == dtype
    assert got.tolist() == batch


def test_collate_refuses_mixtures():
    with pytest.raises(TypeError, match="NoneType, int"):
        data.default_collate([1, None])


@pytest.mark.parametrize("indices", [[True, False], [0.5]])
def test_indices_are_integers(indices):
    with pytest.raises(TypeError, match=r"Subset.*indices"):
        data.Subset([1, 2, 3], indices)
    with pytest.raises(TypeError, match=r"SubsetRandomSampler.*indices"):
        data.SubsetRandomSampler(indices)


def test_collate_refuses_numbers_that_do_not_fit():
    for batch in ([np.uint64(2**63), np.uint64(1)], [2**63, 2**63], [2**63, 1], [-1, 2**63]):
        with pytest.raises(ValueError, match="default_collate: 9223372036854775808 does not fit"):
            data.default_collate(batch)
    assert data.default_collate([2**63, 1.5]).dtype is gs.float64  # floats may be that large


def test_empty_dataset_and_bad_arguments():
    assert list(data.DataLoader(data.TensorDataset(gs.zeros(0, 2)), 4, shuffle=True)) == []
    dataset = numbered()
    for options in (
        {"batch_size": 0},
        {"num_workers": -1},
        {"prefetch_factor": 0},
        {"sampler": [1], "shuffle": True},
        {"batch_sampler": [[1]], "batch_size": 2},
    ):
        with pytest.raises(ValueError):
            data.DataLoader(dataset, **options)
    for call in (
        lambda: data.DataLoader(dataset, prefetch_factor=1.5),
        lambda: data.RandomSampler(dataset, num_samples="x"),
        lambda: data.WeightedRandomSampler([1.0], float("nan")),
    ):
        with pytest.raises(TypeError, match=r"(prefetch_factor|num_samples) must be an int"):
            call()
    assert ids(data.DataLoader(dataset, batch_sampler=[[1, 2], [0]])) == [[1, 2], [0]]
    assert ids(data.DataLoader(dataset, 2, sampler=[5, 6, 7])) == [[5, 6], [7]]


# -- files -----------------------------------------------------------------------------------------


def idx(array, code=0x08):
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("code", "dtype"),
    [(0x8, "u1"), (0x9, "i1"), (0xB, "i2"), (0xC, "i4"), (0xD, "f4"), (0xE, "f8")],
)
def test_idx_round_trip(tmp_path, code, dtype, compress):
    array = (np.arange(24) - 5).astype(dtype).reshape(2, 3, 4)
    content = idx(array, code)
    (tmp_path / "a").write_bytes(gzip.compress(content) if compress else content)
    read = datasets.read_idx(tmp_path / "a")
    assert read.dtype == np.dtype(dtype) and (read == array).all() and read.flags.writeable


GOOD = idx(np.arange(12, dtype=np.uint8).reshape(3, 4))
HUGE = b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1)
HOSTILE = {
    "empty": (b"", "no IDX file"),
    "magic": (b"PK\3\4" + GOOD, "no IDX file"),
    "type": (b"\0\0\x07\1" + GOOD[4:], "no IDX file"),
    "rank 0": (b"\0\0\x08\0", "0 axes"),
    "rank 200": (b"\0\0\x08\xc8" + b"\0" * 900, "200 axes"),
    "header": (GOOD[:9], "inside its header"),
    "short": (GOOD[:-1], "the file holds"),
    "long": (GOOD + b"\0", "the file holds"),
    "huge": (HUGE, "max_bytes"),
    "huge but for a 0": (
        b"\0\0\x08\x03" + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1),
        "read_idx.*max_bytes",
    ),
    "gz short": (gzip.compress(GOOD)[:-9], "whole gzip file"),
    "gz data short": (gzip.compress(GOOD[:-1]), "ends after 11 of 12"),
    "gz data long": (gzip.compress(GOOD + b"\0"), "goes on after"),
    "gz corrupt": (gzip.compress(GOOD)[:-8] + b"\0" * 8, "whole gzip file"),
    "gz huge": (gzip.compress(HUGE), "max_bytes"),
    "gz claims": (gzip.compress(b"\0\0\x08\1" + struct.pack(">I", 10**9)), "holds at most"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_idx(tmp_path, name):
    content, text = HOSTILE[name]
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=text):
        datasets.read_idx(tmp_path / "a")


def write_mnist(folder, images, labels, part="train", prefix="", suffix=""):
    for kind, rank, array in (("images", 3, images), ("labels", 1, labels)):
        content = idx(array.astype(np.uint8))
        path = folder / f"{prefix}{part}-{kind}-idx{rank}-ubyte{suffix}"
        path.write_bytes(gzip.compress(content) if suffix else content)


def test_mnist(tmp_path):
    images = np.arange(5 * 28 * 28).reshape(5, 28, 28) % 256
    write_mnist(tmp_path, images, np.arange(5), prefix="mnist-", suffix=".gz")
    write_mnist(tmp_path, images[:2], np.arange(2), part="t10k")
    train, test = datasets.MNIST(tmp_path), datasets.MNIST(tmp_path, train=False)
    assert len(train) == 5 and len(test) == 2
    image, label = train[3]
    assert image.shape == (1, 28, 28) and label.item() == 3 and label.dtype == gs.int64
    np.testing.assert_allclose(image.numpy()[0] * 255, images[3], rtol=1e-6)


def test_mnist_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        datasets.MNIST(tmp_path / "x")
    with pytest.raises(FileNotFoundError, match=r"no file named like train-images-idx3-ubyte\[.gz"):
        datasets.MNIST(tmp_path)
    write_mnist(tmp_path, np.zeros((3, 4, 4)), np.zeros(2))
    with pytest.raises(ValueError, match="one uint8 label per image"):
        datasets.MNIST(tmp_path)
    write_mnist(tmp_path, np.zeros((3, 4, 4)), np.array([1, 10, 2]))
    with pytest.raises(ValueError, match="label 10; allowed are 0 to 9"):
        datasets.MNIST(tmp_path)


def test_digits():
    sklearn = pytest.importorskip("sklearn.datasets")
    train, held_out, whole = datasets.Digits(), datasets.Digits(False), datasets.Digits(None)
    assert (len(train), len(held_out), len(whole)) == (1438, 359, 1797)
    reference = sklearn.load_digits()
    assert (whole.tensors[0].numpy().reshape(-1, 64) * 16 == reference.data).all()
    assert (whole.tensors[1].numpy() == reference.target).all()
    per_class = np.bincount(held_out.tensors[1].numpy()) / np.bincount(reference.target)
    assert (abs(per_class - 0.2) < 0.01).all()
    a, b = datasets.stratified_split(reference.target, 0.2, seed=0)
    assert sorted([*a, *b]) == list(range(1797))


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gradsmith\[demo\]'"):
        datasets.Digits()


def test_loaders_side_by_side_have_their_own_epochs():
    loader = data.DataLoader(data.TensorDataset(gs.arange(16)), 4, shuffle=True, generator=3)
    pairs = [(a[0].tolist(), b[0].tolist()) for a, b in zip(loader, loader, strict=True)]
    loader.set_epoch(0)
    first, second = ([batch[0].tolist() for batch in loader] for _ in range(2))
    assert [a for a, _ in pairs] == first and [b for _, b in pairs] == second and first != second


def test_collate_of_dicts_that_differ():
    for batch in ([{"a": 1, "b": 2}, {"a": 1}], [{"a": 1}, {"a": 1, "b": 2}], [{"a": 1}, 2]):
        with pytest.raises(ValueError, match="samples of one batch differ"):
            data.default_collate(batch)


def test_collate_widens_arrays_as_it_does_numbers():
    for dtype in (np.int16, np.int8, np.uint16):
        joined = data.default_collate([np.ones(2, dtype), np.zeros(2, dtype)])
        assert joined.dtype is gs.int64 and joined.tolist() == [[1, 1], [0, 0]]


@pytest.mark.parametrize("generator", [-1, True, 1.5, "1"])
def test_seeds_are_checked_at_once(generator):
    with pytest.raises(ValueError, match="generator must be a seed"):
        data.DataLoader(data.TensorDataset(gs.arange(4)), generator=generator)


def test_what_a_loader_cannot_read():
    for dataset, name in ((iter([1, 2]), "list_iterator"), ((x for x in "ab"), "generator")):
        with pytest.raises(TypeError, match=rf"DataLoader: dataset must have len.*got {name}"):
            data.DataLoader(dataset)
    with pytest.raises(ValueError, match="default_collate: batch is empty"):
        data.default_collate([])
    loader = data.DataLoader([1, 2, 3])
    with pytest.raises(ValueError, match="state_dict lacks epoch, sampler_seed, seed"):
        loader.load_state_dict({})
    with pytest.raises(ValueError, match="state_dict lacks sampler_seed"):
        loader.load_state_dict({"seed": 1, "epoch": 5})
    assert loader.epoch == 0


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: data.Subset(x, [0, 1, 2])])
def test_arrays_are_datasets_of_rows(wrap):
    """NumPy's `take` counts elements, not rows."""
    loader = data.DataLoader(wrap(np.arange(6.0).reshape(3, 2)), batch_size=2)
    assert [batch.tolist() for batch in loader] == [[[0, 1], [2, 3]], [[4, 5]]]


def test_only_datasets_give_batches():
    class Frame:
        """Of the kind of pandas: `take` gives rows, items are columns."""

        def __len__(self):
            return 2

        def take(self, indices):
            return "rows"

    class Source(BatchDataset):
        def __len__(self):
            return 2

        def take(self, indices):
            return indices.tolist()

    assert not gives_batches(Frame())
    assert not gives_batches(data.Subset(Frame(), [0]))
    with pytest.raises(TypeError, match=r"len.. and items by index, got Frame"):
        data.DataLoader(Frame())
    assert gives_batches(data.Subset(data.TensorDataset(gs.ones(2)), [0]))
    assert list(data.DataLoader(Source(), batch_size=2)) == [[0, 1]]
