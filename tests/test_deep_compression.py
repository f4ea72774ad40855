"""The compressed file: exact, as small as it says, and refused as soon as one bit of it is wrong."""

from __future__ import annotations

import contextlib
import itertools
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from course_lib.data import load as load_data
from course_lib.errors import CourseError
from course_lib.quantization.byte_stream import MAGIC, Reader, Writer
from course_lib.quantization.deep_compression import layer_sizes, load, pack, save, stage_bytes, unpack
from course_lib.quantization.huffman import build_code
from course_lib.quantization.packed_tensor import DTYPES, STAGES
from course_lib.quantization.relative_index import with_fillers
from course_lib.quantization.weight_sharing import apply_codebooks_, share_weights

QUICK = settings(deadline=None, max_examples=80)


def compressed_network(seed: int = 0, sparsity: float = 0.9, bits: int = 4) -> nn.Sequential:
    """300 and 100 hidden units on 8×8 images, pruned and shared, biases in half precision."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.copy_(parameter.half())
            else:
                parameter.mul_(parameter.abs() >= parameter.abs().quantile(sparsity))  # leaves zeros of both signs
    matrices = {name: parameter for name, parameter in model.named_parameters() if parameter.dim() > 1}
    return apply_codebooks_(model, {name: book.half() for name, book in share_weights(matrices, bits).items()})


def same(read: dict[str, torch.Tensor], written) -> bool:
    """Equal names in equal order, kinds, shapes, and numbers bit by bit, but for the sign of a zero."""
    assert list(read) == list(written)
    for name, tensor in written.items():
        assert read[name].dtype == tensor.dtype and read[name].shape == tensor.shape
        assert torch.equal(read[name], tensor)
        assert read[name].is_contiguous()
    return True


@st.composite
def tensors(draw) -> dict[str, torch.Tensor]:
    """Tensors of all kinds and shapes: dense, sparse, of few or of many values."""
    found = {}
    for name in draw(st.lists(st.text(max_size=8), unique=True, max_size=3)):
        dtype = draw(st.sampled_from(DTYPES))
        shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9))
        values = draw(st.sampled_from([[0.0], [0.0, 0.0, 0.0, 1.0], [0.5, -0.5, 0.1], None]))
        elements = st.floats(-1e4, 1e4, width=16) if values is None else st.sampled_from(values)
        array = draw(hnp.arrays(np.float64, shape, elements=elements))
        found[name] = (
            torch.from_numpy(array).abs().to(dtype) if dtype == torch.uint8 else torch.from_numpy(array).to(dtype)
        )
    return found


@QUICK
@given(tensors(), st.sampled_from(STAGES))
def test_everything_comes_back_exactly_at_every_stage(written, stage):
    data = pack(written, stage=stage)
    assert same(unpack(data), written)
    assert data == pack(written, stage=stage)


def test_weights_of_any_layout_and_any_number_of_values():
    torch.manual_seed(0)
    image = torch.randn(8, 4, 3, 3)
    written = {
        "plain": image,
        "channels last": image.to(memory_format=torch.channels_last),
        "transposed": image.transpose(0, 3),
        "many values": torch.arange(70_000.0),
        "65536 values": torch.arange(1 << 16).repeat(2) / 7,
        "one column": torch.zeros(50, 40).index_fill_(1, torch.tensor([7]), 0.3),
        "one far weight": torch.zeros(100_000).index_fill_(0, torch.tensor([99_999]), 0.3),
        "tiny": torch.tensor([1e-45, -1e-40, 3e38, 65504, 65520, 1e-8]),
        "double": torch.tensor([1 / 3, 1e300, 5e-324], dtype=torch.float64),
    }
    for stage in STAGES:
        assert same(unpack(pack(written, stage=stage)), written)


def test_a_network_is_saved_in_the_bytes_that_are_named_and_predicts_the_same(tmp_path):
    model, path = compressed_network(), tmp_path / "net.sndc"
    size = save(path, model)
    assert size == path.stat().st_size and list(tmp_path.iterdir()) == [path]
    twin = compressed_network(seed=1)
    twin.load_state_dict(load(path))
    x = load_data("digits").test.x
    assert torch.equal(twin.eval()(x), model.eval()(x))
    assert same(load(path), model.state_dict())
    assert save(path, twin.state_dict()) == size  # replaces the older file


def test_buffers_of_batch_norm_are_kept():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    model(torch.randn(8, 1, 5, 5))
    assert same(unpack(pack(model)), model.state_dict())


def test_the_stages_each_make_the_file_smaller():
    model = compressed_network()
    sizes = list(stage_bytes(model).values())
    assert list(stage_bytes(model)) == ["float32", *STAGES]
    assert all(after < before for before, after in itertools.pairwise(sizes))
    assert sizes[0] == sum(4 * parameter.numel() for parameter in model.parameters())
    assert sizes[0] / sizes[-1] > 30
    assert stage_bytes(model)["coded"] == len(pack(model))


def test_the_streams_take_what_the_best_code_takes():
    torch.manual_seed(0)
    weight = torch.where(torch.rand(200, 300) < 0.1, torch.randint(1, 17, (200, 300)) / 16, 0.0)
    (row, *_) = layer_sizes({"w": weight})
    values = weight[weight != 0]
    codes = values.unique(return_inverse=True)[1]
    bits = lambda symbols: build_code(torch.bincount(symbols)).size_bits(torch.bincount(symbols))  # noqa: E731
    equal, coded = row.weight_bits
    assert equal == pytest.approx(4, abs=1e-2) and round(coded * len(values)) == min(
        4 * len(values), -(-bits(codes) // 8) * 8
    )
    ways = []
    for flat in (weight.flatten(), weight.T.flatten()):
        for gap_bits in range(1, 13):
            gaps, kept = with_fillers(flat.nonzero().squeeze(1), 2**gap_bits - 1)
            ways.append(-(-bits(torch.where(kept, gaps - 1, 2**gap_bits - 1)) // 8) * 8)
    assert min(ways) <= round(row.index_bits[1] * len(values)) <= 1.01 * min(ways)


def test_gaps_run_along_columns_where_that_is_shorter():
    torch.manual_seed(0)
    columns = torch.zeros(100, 200)
    columns[:, torch.randperm(200)[:20]] = 0.5  # all other inputs are unused: dead pixels
    size = len(pack({"w": columns}))
    assert size < 350 and abs(len(pack({"w": columns.T.contiguous()})) - size) <= 2


def test_half_precision_is_used_where_nothing_is_lost():
    torch.manual_seed(0)
    exact = torch.randn(1000).half().float()
    assert 2000 < len(pack({"w": exact})) < 2040 < 4000 < len(pack({"w": torch.randn(1000)}))


def test_the_table_adds_up_and_reads_like_the_papers():
    model = compressed_network()
    rows = {row.name: row for row in layer_sizes(model)}
    total = rows.pop("total")
    assert total.sizes_bytes == (len(pack(model, stage="shared")), len(pack(model)))
    assert sum(row.sizes_bytes[1] for row in rows.values()) == total.sizes_bytes[1]
    first = rows["1.weight"]
    assert (first.weights, first.kept) == (19_200, pytest.approx(0.1, abs=1e-3))
    assert first.weight_bits[0] == pytest.approx(4, abs=0.01) and 3 < first.weight_bits[1] <= first.weight_bits[0]
    assert 4 < first.index_bits[1] < first.index_bits[0] < 7
    for size, fraction in zip(first.sizes_bytes, first.fractions, strict=True):
        assert fraction == size / (4 * 19_200)
    codebook = 16 * 2
    assert first.sizes_bytes[0] == codebook + round(
        sum(bits[0] for bits in (first.weight_bits, first.index_bits)) * first.weights * first.kept / 8
    )


# What is not such a file


def test_a_flip_of_any_bit_is_refused():
    data = pack({"w": torch.tensor([0.0, 0.5, 0.0, -0.5, 0.25]).repeat(9), "n": torch.tensor(3)})
    assert len(data) < 150
    for at, bit in itertools.product(range(len(data)), range(8)):
        changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        with pytest.raises(CourseError):
            unpack(changed)


def test_a_file_that_is_cut_off_or_longer_is_refused(tmp_path):
    data = pack(compressed_network(sparsity=0.99))
    path = tmp_path / "cut.sndc"
    for size in [*range(20), len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(CourseError, match="damaged|not a file that"):
            load(path)
    with pytest.raises(CourseError, match="damaged"):
        unpack(data + b"\0")


def sealed(rest: bytes) -> bytes:
    """With the right magic word and the right checksum."""
    return MAGIC + zlib.crc32(rest).to_bytes(4, "little") + rest


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "foreign"
    torch.save({"w": torch.zeros(3)}, path)
    with pytest.raises(CourseError, match="not a file that"):
        load(path)
    with pytest.raises(CourseError, match="There is no file"):
        load(tmp_path / "nothing")
    with pytest.raises(CourseError, match="cannot be read"):
        load(tmp_path)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_nonsense_with_a_right_checksum_is_refused_or_read_but_never_breaks(rest):
    with contextlib.suppress(CourseError):
        unpack(sealed(rest))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_changed_header_with_a_right_checksum_never_breaks(data):
    torch.manual_seed(0)
    tensor = torch.where(torch.rand(9, 30) < 0.3, torch.randint(1, 6, (9, 30)) / 8, 0.0)
    reader = Reader.opened(pack({"w": tensor, "b": torch.rand(5)}))
    head = bytearray(reader.head)
    head[data.draw(st.integers(0, len(head) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CourseError):
        unpack(Writer(head, [("all", reader.body)]).sealed())


def test_a_few_bytes_cannot_ask_for_much_memory(tmp_path):
    path = tmp_path / "zeros.sndc"
    assert save(path, {"w": torch.zeros(1000, 1000)}) < 40
    assert load(path, most_numbers=1_000_000)["w"].shape == (1000, 1000)
    with pytest.raises(CourseError, match="more numbers than are allowed"):
        load(path, most_numbers=999_999)
    writer = Writer()
    writer.number(1), writer.text(b"w"), writer.number(0), writer.number(2)
    writer.number(1 << 40), writer.number(1 << 40), writer.number(3 * 4)
    with pytest.raises(CourseError, match="more numbers than are allowed"):
        unpack(writer.sealed())


def test_the_file_says_more_than_it_holds():
    writer = Writer()
    writer.number(1)
    with pytest.raises(CourseError, match="cannot be used"):
        unpack(writer.sealed())
    writer = Writer()
    writer.number(0)
    writer.block("values", b"more")
    with pytest.raises(CourseError, match="holds more"):
        unpack(writer.sealed())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"w": torch.tensor([1.0, float("nan")])}, "'w' holds NaN"),
        ({"w": torch.tensor([float("inf")])}, "'w' holds NaN or infinities"),
        ({"w": torch.zeros(2, dtype=torch.complex64)}, "'w' is torch.strided torch.complex64"),
        ({"w": torch.eye(2).to_sparse()}, "torch.sparse_coo"),
        ({"w": [1.0]}, "'w' is list"),
        ({1: torch.zeros(1)}, "dictionary name -> tensor"),
        (torch.zeros(3), "not Tensor"),
    ],
)
def test_what_the_file_cannot_hold_is_refused_and_no_file_is_left(model, message, tmp_path):
    with pytest.raises(CourseError, match=message):
        save(tmp_path / "net", model)
    assert not list(tmp_path.iterdir())


def test_an_unknown_stage_is_refused():
    with pytest.raises(CourseError, match="stage must be 'pruned' or 'shared' or 'coded'"):
        pack({}, stage="zipped")


def test_nothing_and_zeros_take_next_to_nothing():
    assert unpack(pack({})) == {}
    model = nn.Linear(1000, 1000)
    with torch.no_grad():
        model.weight.zero_(), model.bias.zero_()
    assert len(pack(model)) < 45 and same(unpack(pack(model)), model.state_dict())
