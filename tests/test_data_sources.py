"""CIFAR files, image folders, tables, text and time series, down to the last value."""

import gzip
from functools import partial

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import data
from gradsmith.data import datasets, transforms

RNG = np.random.default_rng(0)


# -- images ----------------------------------------------------------------------------------------


def cifar_bytes(count, labels):
    return RNG.integers(0, 256, (count, 3072 + labels), dtype=np.uint8) % 10


def test_cifar10(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    tables = [cifar_bytes(3, 1) for _ in range(5)]
    for i, table in enumerate(tables, 1):
        if i == 2:
            (folder / "data_batch_2.bin.gz").write_bytes(gzip.compress(table.tobytes()))
        else:
            (folder / f"data_batch_{i}.bin").write_bytes(table.tobytes())
    train = datasets.CIFAR10(tmp_path)
    whole = np.concatenate(tables)
    assert len(train) == 15 and train.images.dtype == np.uint8
    image, label = train[4]
    assert image.dtype == gs.float32 and tuple(image.shape) == (3, 32, 32)
    np.testing.assert_array_equal(image.numpy().reshape(-1) * 255, whole[4, 1:])
    assert label == whole[4, 0]
    images, labels = next(iter(data.DataLoader(train, 15)))
    np.testing.assert_array_equal(labels.numpy(), whole[:, 0])
    np.testing.assert_array_equal(images[4].numpy(), image.numpy())
    with pytest.raises(FileNotFoundError, match=r"test_batch\.bin; the binary version .* is at"):
        datasets.CIFAR10(folder, train=False)
    (folder / "test_batch.bin").write_bytes(b"\x0b" + bytes(3072))
    with pytest.raises(ValueError, match="label 11; allowed are 0 to 9"):
        datasets.CIFAR10(folder, train=False)
    (folder / "test_batch.bin").write_bytes(bytes(3072))
    with pytest.raises(ValueError, match="3072 bytes, no multiple of 3073"):
        datasets.CIFAR10(folder, train=False)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        datasets.CIFAR10(tmp_path / "none")


def test_cifar100(tmp_path):
    table = cifar_bytes(4, 2)
    (tmp_path / "train.bin").write_bytes(table.tobytes())
    train = datasets.CIFAR100(tmp_path)
    np.testing.assert_array_equal(train.labels, table[:, 1])
    np.testing.assert_array_equal(train.coarse_labels, table[:, 0])


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda packed: packed[: len(packed) // 2], "ended before"),
        (lambda packed: packed[:40] + bytes(20) + packed[60:], "decompressing"),
        (lambda packed: b"plain" + packed[5:], "Not a gzipped file"),
        (lambda packed: packed[:-8] + bytes(8), "CRC"),
    ],
)
def test_damaged_cifar(tmp_path, damage, text):
    packed = gzip.compress(cifar_bytes(20, 2).tobytes())
    (tmp_path / "train.bin.gz").write_bytes(damage(packed))
    with pytest.raises(ValueError, match=rf"train\.bin\.gz is not a whole gzip file: .*{text}"):
        datasets.CIFAR100(tmp_path)


def test_cifar_that_expands_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("gradsmith.data.datasets.cifar._MOST_BYTES", 3074 * 4)
    for images in (4, 5):
        (tmp_path / "train.bin.gz").write_bytes(gzip.compress(bytes(3074 * images)))
        if images == 4:
            assert len(datasets.CIFAR100(tmp_path)) == 4
    with pytest.raises(ValueError, match=r"train\.bin\.gz holds more than 12,296 bytes"):
        datasets.CIFAR100(tmp_path)


def test_image_of_too_many_pixels(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "cat").mkdir()
    image.new("1", (60, 50)).save(tmp_path / "cat" / "a.png")
    folder = datasets.ImageFolder(tmp_path)
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 1499)
    with pytest.raises(ValueError, match=r"a\.png cannot be read: Image size \(3000 pixels\)"):
        folder[0]


def test_image_folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    for name in ("dog/a.png", "cat/deep/b.PNG", "cat/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "cat/notes.txt").write_text("no image")
    folder = datasets.ImageFolder(tmp_path)
    assert folder.classes == ["cat", "dog"] and folder.labels.tolist() == [0, 0, 1]
    assert [path.name for path in folder.paths] == ["a.png", "b.PNG", "a.png"]
    first, label = folder[2]
    np.testing.assert_allclose(first.numpy(), pixels.transpose(2, 0, 1) / 255, rtol=1e-6)
    assert label == 1
    square = datasets.ImageFolder(tmp_path, size=4, channels=1)
    (batch, labels) = next(iter(data.DataLoader(square, 3)))
    assert tuple(batch.shape) == (3, 1, 4, 4) and labels.numpy().tolist() == [0, 0, 1]
    for size in ((2, 3), [2, 3], np.array([2, 3]), range(2, 4)):
        assert tuple(datasets.ImageFolder(tmp_path, size=size)[0][0].shape) == (3, 2, 3)
    assert datasets.ImageFolder(tmp_path, size=np.int64(4)).size == (4, 4)
    (tmp_path / "dog/a.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"a\.png cannot be read"):
        folder[2]
    with pytest.raises(ValueError, match="channels must be 1 or 3"):
        datasets.ImageFolder(tmp_path, channels=4)
    with pytest.raises(FileNotFoundError, match="no folders with images"):
        datasets.ImageFolder(tmp_path / "cat" / "deep")


def test_grey_images_of_16_bits(tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "cat").mkdir()
    pixels = np.array([[0, 255, 256], [1000, 40000, 65535]], np.uint16)
    for name in ("a.png", "b.pgm", "c.tif"):
        image.fromarray(pixels).save(tmp_path / "cat" / name)
    for folder in (datasets.ImageFolder(tmp_path, channels=n) for n in (1, 3)):
        for at in range(3):
            found = folder[at][0].numpy()
            assert found.shape == (folder.channels, 2, 3) and found.dtype == np.float32
            np.testing.assert_allclose(found[-1], pixels / 65535, rtol=1e-6)
    middle = datasets.ImageFolder(tmp_path, size=1, channels=1)[0][0].item()
    assert 256 / 65535 < middle < 1
    image.fromarray(pixels.astype(np.float32)).save(tmp_path / "cat" / "d.tif")
    image.fromarray(pixels.astype(np.int32) * 2).save(tmp_path / "cat" / "e.tif")
    for at in (3, 4):
        with pytest.raises(ValueError, match=r"\.tif cannot be read: its values .* 8 or 16 bits"):
            datasets.ImageFolder(tmp_path)[at]


@pytest.mark.parametrize(
    ("size", "error"),
    [((1, 2, 3), ValueError), (-4, ValueError), (0, ValueError), ("a", TypeError),
     ((4, -1), ValueError), (True, TypeError), ((2.0, 2), TypeError),
     (np.array([3, 4, 5]), ValueError), (np.array([[3, 4]]), TypeError),
     (np.array([3.0, 4.0]), TypeError), ((), ValueError)],
)  # fmt: skip
def test_size_of_images_is_checked(tmp_path, size, error):
    with pytest.raises(error, match="ImageFolder: size must be"):
        datasets.ImageFolder(tmp_path, size=size)


def test_gaussian_ring():
    ring = datasets.GaussianRing(500, modes=4, radius=2.0, std=0.01)
    assert ring.score(ring.tensors[0]) == (4, pytest.approx(0.99, abs=0.02))
    assert ring.score(np.zeros((5, 2))) == (0, 0.0)
    np.testing.assert_array_equal(ring.tensors[0].numpy(), datasets.GaussianRing(
        500, modes=4, radius=2.0, std=0.01).tensors[0].numpy())  # fmt: skip
    with pytest.raises(ValueError, match=r"points must have shape \(N, 2\)"):
        ring.score(np.zeros(3))


def test_transforms():
    images = RNG.normal(size=(40, 2, 6, 5)).astype(np.float32)

    def rng():
        return np.random.default_rng(1)

    flipped = transforms.random_flip(images, rng())
    mirrored = (flipped == images[..., ::-1]).all((1, 2, 3))
    assert 8 < mirrored.sum() < 32
    np.testing.assert_array_equal(flipped[~mirrored], images[~mirrored])
    cropped = transforms.random_crop(images, rng(), 2)
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    down, right = rng().integers(0, 5, (2, 40))
    for i in (0, 17, 39):
        wanted = padded[i, :, down[i] : down[i] + 6, right[i] : right[i] + 5]
        np.testing.assert_array_equal(cropped[i], wanted)
    erased = transforms.random_erase(images, rng(), 3)
    zeros = (erased == 0).reshape(40, 2, -1).sum(2)
    assert (zeros[:, 0] == zeros[:, 1]).all() and zeros.max() == 9 and zeros.min() >= 4
    assert (erased[erased != 0] == images[erased != 0]).all() and erased.dtype == np.float32
    step = transforms.normalize([1, 2], [2, 4])
    np.testing.assert_allclose(step(images)[:, 1], (images[:, 1] - 2) / 4, rtol=1e-6)
    with pytest.raises(ValueError, match="do not have 2 channels"):
        step(images[:, :1])
    with pytest.raises(ValueError, match="one positive std"):
        transforms.normalize([1], [0])

    change = transforms.on_images(transforms.random_flip, step)
    dataset = data.TensorDataset(images, np.arange(40))
    runs = [
        list(data.DataLoader(dataset, 8, num_workers=workers, transform=change, generator=5))
        for workers in (0, 2)
    ]
    for (one, labels), (other, _) in zip(*runs, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
        assert labels.shape == (8,)


def test_affine_of_bytes():
    images = RNG.integers(0, 256, (5, 3, 8, 7), dtype=np.uint8)
    turn = partial(transforms.random_affine, degrees=30, pixels=1, scale=0.2)
    found = turn(images, np.random.default_rng(1))
    wanted = turn(images.astype(np.float32), np.random.default_rng(1))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.rint(wanted))
    halves = turn((images / 256).astype(np.float16), np.random.default_rng(1))
    assert halves.dtype == np.float16
    np.testing.assert_allclose(halves, wanted / 256, atol=1e-3)


STEPS = {
    "normalize": transforms.normalize([0, 0, 0], [1, 1, 1]),
    "random_affine": partial(transforms.random_affine, degrees=1, pixels=1, scale=0.1),
    "random_crop": partial(transforms.random_crop, pixels=1),
    "random_erase": partial(transforms.random_erase, size=1),
    "random_flip": transforms.random_flip,
    "random_shift": partial(transforms.random_shift, pixels=1),
}


@pytest.mark.parametrize("name", STEPS)
def test_transforms_take_batches_alone(name):
    rng, step = np.random.default_rng(0), STEPS[name]
    assert step(np.zeros((1, 3, 4, 5), np.float32), rng).shape == (1, 3, 4, 5)
    with pytest.raises(ValueError, match=rf"{name}: images must be \(N, C, H, W\), got.*\(3, 4, 5"):
        step(np.zeros((3, 4, 5), np.float32), rng)
    with pytest.raises(TypeError, match=f"{name}: images must be an array, got Tensor"):
        step(gs.zeros(1, 3, 4, 5), rng)


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [("crop", "pixels", -1), ("shift", "pixels", -1), ("erase", "size", -1), ("flip", "p", 1.5),
     ("erase", "p", -0.5), ("affine", "degrees", -10), ("affine", "pixels", -1),
     ("affine", "scale", 1.0), ("affine", "scale", -0.1)],
)  # fmt: skip
def test_ranges_of_transforms_are_checked(name, argument, value):
    needed = {"crop": {"pixels": 1}, "shift": {"pixels": 1}, "erase": {"size": 1}, "flip": {},
              "affine": {"degrees": 1, "pixels": 1, "scale": 0.1}}  # fmt: skip
    step = getattr(transforms, f"random_{name}")
    images = np.zeros((1, 3, 4, 5), np.float32)
    with pytest.raises(ValueError, match=f"random_{name}: {argument} must"):
        step(images, np.random.default_rng(0), **{**needed[name], argument: value})


# -- tables ----------------------------------------------------------------------------------------


def table_file(tmp_path, text, name="t.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_read_csv(tmp_path):
    path = table_file(
        tmp_path, 'age,"home, town",code,y\n31,Bonn,01,yes\nNA,?,02,no\n\n5, "Ulm",03,no\n'
    )
    table = data.read_csv(path, text=["code"])
    assert list(table) == ["age", "home, town", "code", "y"] and table.rows == 3
    np.testing.assert_array_equal(table["age"], [31, np.nan, 5])
    assert table["home, town"].tolist() == ["Bonn", "", "Ulm"]
    assert table["code"].tolist() == ["01", "02", "03"] and not table.is_numeric("code")
    bare = data.read_csv(table_file(tmp_path, "1;'a'\n2;'b'\n"), header=False, delimiter=";")
    assert list(bare) == ["0", "1"] and bare["1"].tolist() == ["a", "b"]
    spaces = data.read_csv(
        table_file(tmp_path, " 1  2\n3\t4\n"), header=False, delimiter=" ", names=["a", "b"]
    )
    assert spaces["b"].tolist() == [2, 4]
    with pytest.raises(ValueError, match="row 3 has 1 values, expected 2"):
        data.read_csv(table_file(tmp_path, "a,b\n1,2\n3\n"))
    with pytest.raises(ValueError, match="has no rows"):
        data.read_csv(table_file(tmp_path, "a,b\n"))
    with pytest.raises(KeyError, match="no column 'x'; there are age"):
        table["x"]
    with pytest.raises(ValueError, match="columns must have one axis of one length"):
        data.Table({"a": [1, 2], "b": [1]})


def test_csv_that_cannot_be_read(tmp_path):
    long = "x" * 131_073
    with pytest.raises(ValueError, match=r"read_csv: .*t\.csv: after row 3: field larger than"):
        data.read_csv(table_file(tmp_path, "a\n1\n2\n" + long))
    with pytest.raises(ValueError, match="unexpected end of data"):  # a quote is not closed
        data.read_csv(table_file(tmp_path, 'a,b\n1,"2\n3,4\n'))
    for delimiter in ("", "::", 3):
        with pytest.raises(ValueError, match="delimiter must be one character"):
            data.read_csv(table_file(tmp_path, "a,b\n1,2\n"), delimiter=delimiter)
    (tmp_path / "latin.csv").write_bytes("a\nM\u00fcnchen\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"read_csv: .*latin\.csv: after row 0: 'utf-8' codec"):
        data.read_csv(tmp_path / "latin.csv")
    assert data.read_csv(tmp_path / "latin.csv", encoding="latin-1")["a"].tolist() == ["München"]


def test_underscores_make_no_number(tmp_path):
    table = data.read_csv(table_file(tmp_path, "x,y\n1_000,5\n7,6\n"))
    assert table["x"].tolist() == ["1_000", "7"] and table["y"].tolist() == [5, 6]


def test_infinite_numbers(tmp_path):
    table = data.read_csv(table_file(tmp_path, "x,y\n1,0.5\ninf,1\nnan,-Infinity\n"))
    np.testing.assert_array_equal(table["x"], [1, np.inf, np.nan])
    with pytest.raises(ValueError, match="TableEncoder: column 'x' holds an infinite number"):
        data.TableEncoder().fit(table)
    encoder = data.TableEncoder("y", "regression").fit(table.take([0]))
    with pytest.raises(ValueError, match="TableEncoder: column 'x' holds an infinite number"):
        encoder.transform(table)
    with pytest.raises(ValueError, match="target 'y' holds no number somewhere"):
        encoder.targets(table)
    kinds = data.TableEncoder(categorical=["x"]).fit(table.drop("y"))
    assert kinds.features == ["x=1", "x=inf"]
    assert kinds.transform(table).tolist() == [[1, 0], [0, 1], [0, 0]]
    with pytest.raises(ValueError, match="Standardizer: a column holds an infinite number"):
        data.Standardizer().fit(np.array([1.0, np.inf]))


def test_table_split():
    table = data.Table({"n": np.arange(50), "kind": ["a"] * 40 + ["b"] * 10})
    train, valid, test = table.split((0.6, 0.2, 0.2), stratify="kind", seed=3)
    assert [part.rows for part in (train, valid, test)] == [30, 10, 10]
    assert [(part["kind"] == "b").sum() for part in (train, valid, test)] == [6, 2, 2]
    joined = np.concatenate([train["n"], valid["n"], test["n"]])
    assert sorted(joined.tolist()) == list(range(50))
    before, after = table.split(shuffle=False)
    assert before["n"].tolist() == list(range(40)) and after["n"].min() == 40
    with pytest.raises(ValueError, match="shares must sum to 1"):
        table.split((0.5, 0.6))
    with pytest.raises(ValueError, match="stratify needs shuffle"):
        table.split(stratify="kind", shuffle=False)


def test_encoder_knows_the_training_part_alone():
    train = data.Table({
        "x": [1.0, 2.0, 3.0, np.nan], "flat": [7.0] * 4, "colour": ["red", "blue", "", "red"],
        "zone": [1, 2, 1, 2], "y": ["no", "yes", "no", "no"],
    })  # fmt: skip
    test = data.Table({
        "x": [100.0, np.nan], "flat": [8.0, 7.0], "colour": ["green", "blue"], "zone": [3, 2],
        "y": ["yes", "no"],
    })  # fmt: skip
    encoder = data.TableEncoder("y", categorical=["zone"]).fit(train)
    assert encoder.features == ["x", "flat", "colour=blue", "colour=red", "zone=1", "zone=2"]
    assert encoder.classes == ["no", "yes"]
    std = np.std([1, 2, 3])
    expected = [[98 / std, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 1]]
    np.testing.assert_allclose(encoder.transform(test), expected, rtol=1e-6)
    dataset = encoder.dataset(test)
    assert dataset.tensors[0].dtype == gs.float32 and dataset.tensors[1].numpy().tolist() == [1, 0]
    raw = data.TableEncoder("y", standardise=False).fit(train).transform(train)
    np.testing.assert_allclose(raw[:, 0], [1, 2, 3, 2])
    regression = data.TableEncoder("x", "regression").fit(test)
    with pytest.raises(ValueError, match="target 'x' holds no number somewhere"):
        regression.targets(test)
    with pytest.raises(ValueError, match=r"target 'maybe' is none of \['no', 'yes'\]"):
        encoder.targets(data.Table({"y": ["maybe"]}))
    with pytest.raises(ValueError, match="column 'x' holds no number"):
        data.TableEncoder().fit(data.Table({"x": [np.nan]}))
    with pytest.raises(ValueError, match="fit comes before transform"):
        data.TableEncoder().transform(train)
    with pytest.raises(ValueError, match="task must be"):
        data.TableEncoder(task="ranking")


def test_standardizer():
    values = RNG.normal(5, 3, (40, 2))
    values[:, 1] = 0.1 * 3
    scaler = data.Standardizer().fit(values)
    scaled = scaler.transform(values)
    assert scaled[:, 0].std() == pytest.approx(1) and abs(scaled[:, 1]).max() < 1e-12
    np.testing.assert_allclose(scaler.inverse(scaled), values)
    np.testing.assert_allclose(scaler.inverse(scaled[:, 0], 0), values[:, 0])
    for bad in (np.zeros((0, 2)), np.full((3, 1), np.nan)):
        with pytest.raises(ValueError, match="Standardizer"):
            data.Standardizer().fit(bad)


# -- text ------------------------------------------------------------------------------------------


def test_columns_that_are_not_there(tmp_path):
    path = table_file(tmp_path, "age,code\n1,2\n3,4\n")
    assert not data.read_csv(path, text=["code"]).is_numeric("code")
    assert not data.read_csv(path, text="code").is_numeric("code")
    with pytest.raises(
        ValueError, match=r"text names \['typo'\]; the columns are \['age', 'code'\]"
    ):
        data.read_csv(path, text=["typo", "age"])


def test_a_column_of_numbers_that_became_text():
    encoder = data.TableEncoder().fit(data.Table({"age": [1, 2], "colour": ["red", "blue"]}))
    with pytest.raises(
        ValueError, match=r"TableEncoder: column 'age' held numbers .* and now text"
    ):
        encoder.transform(data.Table({"age": ["1", "x"], "colour": ["red", "blue"]}))


def test_standardizer_of_other_data():
    scaler = data.Standardizer()
    for method in (scaler.transform, scaler.inverse):
        with pytest.raises(ValueError, match="Standardizer: fit comes before"):
            method(np.ones((2, 3)))
    scaler.fit(np.arange(6.0).reshape(2, 3))
    for method in (scaler.transform, scaler.inverse):
        with pytest.raises(ValueError, match=r"needs 3 columns, got shape \(2, 1\)"):
            method(np.ones((2, 1)))
    assert scaler.transform(np.ones(3)).shape == (3,)
    assert scaler.inverse(np.ones((4, 2)), column=1).tolist() == [[4.0, 4.0]] * 4


def test_words(tmp_path):
    assert data.tokenize("Don't stop, Ünal!") == ["don't", "stop", ",", "ünal", "!"]
    texts = ["the cat sat", "the dog sat on the mat", "a cat"]
    words = data.Vocabulary.from_texts(texts, min_count=2)
    assert words.tokens == ["<pad>", "<unk>", "the", "cat", "sat"]
    assert words.encode("The bird sat") == [2, 1, 4] and words.padding_index == 0
    batch = words.encode_batch(["the cat", "the cat sat sat sat"], 4)
    assert batch.numpy().tolist() == [[2, 3, 0, 0], [2, 3, 4, 4]]
    assert words.decode(batch[0].numpy()) == "the cat"
    assert tuple(words.encode_batch(["", "cat sat"]).shape) == (2, 2)
    assert len(data.Vocabulary.from_texts(texts, max_size=3)) == 3 and "cat" in words
    words.save(tmp_path / "v.json")
    assert data.Vocabulary.load(tmp_path / "v.json").encode("cat") == [3]
    (tmp_path / "v.json").write_text('{"words": 1}')
    with pytest.raises(ValueError, match="holds no vocabulary"):
        data.Vocabulary.load(tmp_path / "v.json")
    for tokens, options in ((["a", "a"], {}), (["a"], {"unknown": "u"}), (["a"], {"level": "x"})):
        with pytest.raises(ValueError, match=r"listed|level"):
            data.Vocabulary(tokens, **options)


def test_characters_and_sequences():
    text = "hello\nworld"
    letters = data.Vocabulary.from_texts(text, "char")
    assert letters.tokens == sorted(set(text)) and letters.decode(letters.encode(text)) == text
    with pytest.raises(ValueError, match="'z' is not listed"):
        letters.encode("z")
    with pytest.raises(ValueError, match="needs a padding token"):
        letters.encode_batch(["h"])
    pieces = data.SequenceDataset(np.arange(11), 3)
    assert len(pieces) == 3
    assert [tuple(t.numpy().tolist() for t in pieces[i]) for i in (0, -1)] == [
        ([0, 1, 2], [1, 2, 3]),
        ([6, 7, 8], [7, 8, 9]),
    ]
    dense = data.SequenceDataset(gs.arange(5), 3, stride=1)
    inputs, targets = next(iter(data.DataLoader(dense, 8)))
    assert inputs.numpy().tolist() == [[0, 1, 2], [1, 2, 3]]
    assert targets.numpy().tolist() == [[1, 2, 3], [2, 3, 4]]
    for call in (lambda: pieces[3], lambda: data.SequenceDataset(np.arange(3), 3)):
        with pytest.raises((IndexError, ValueError)):
            call()


# -- series ----------------------------------------------------------------------------------------


def test_sequences_are_of_integers():
    for numbers in ([0.5, 1.7, 2.2, 3.0], gs.ones(4), ["a", "b", "c"]):
        with pytest.raises(TypeError, match="SequenceDataset: numbers must be integers, got"):
            data.SequenceDataset(numbers, 2)
    assert data.SequenceDataset(np.arange(4, dtype=np.uint8), 2)[0][1].tolist() == [1, 2]
    with pytest.raises(ValueError, match="T > length"):
        data.SequenceDataset([], 2)


@pytest.mark.parametrize("number", [-1, 3, 99])
def test_numbers_of_no_token(number):
    vocabulary = data.Vocabulary(["a", "b", "c"])
    with pytest.raises(ValueError, match=f"Vocabulary: {number} is no token's number; there are 3"):
        vocabulary.decode([0, number])


def test_windows():
    plain = data.WindowDataset(np.arange(6), 3)
    assert len(plain) == 3
    window, target = plain[0]
    assert window.numpy().tolist() == [[0], [1], [2]] and target.numpy().tolist() == [3]
    table = np.arange(20).reshape(10, 2)
    dataset = data.WindowDataset(table, 2, horizon=2, stride=3, gap=1, targets=1)
    windows, targets = next(iter(data.DataLoader(dataset, 9)))
    assert windows.numpy().tolist() == [[[0, 1], [2, 3]], [[6, 7], [8, 9]]]
    assert targets.numpy().tolist() == [[7, 9], [13, 15]]
    both = data.WindowDataset(table, 2, targets=[1, 0])
    assert both[0][1].numpy().tolist() == [[5, 4]]


def test_parts_share_no_target():
    train, valid, test = data.time_split(20)
    assert (train, valid, test) == (slice(0, 14), slice(14, 17), slice(17, 20))
    seen = []
    for part in (train, valid, test):
        dataset = data.WindowDataset(np.arange(20), 4, part=part)
        found = [int(dataset[i][1].item()) for i in range(len(dataset))]
        assert all(part.start <= t < part.stop for t in found)
        seen += found
    assert seen == list(range(4, 20))
    for options, text in (
        ({"length": 0}, "length must be an int of at least 1"),
        ({"length": 20}, "no window of 20 values"),
        ({"length": 2, "part": slice(0, 9, 2)}, "part must be a run"),
    ):
        with pytest.raises(ValueError, match=text):
            data.WindowDataset(np.arange(20), **options)
    with pytest.raises(IndexError, match="target column 3 does not exist"):
        data.WindowDataset(np.zeros((9, 2)), 2, targets=3)
    with pytest.raises(ValueError, match="shares must sum to 1"):
        data.time_split(5, (0.5,))
