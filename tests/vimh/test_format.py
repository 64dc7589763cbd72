"""The byte layout, held to bytes computed by hand from the format's text and to a second implementation."""

import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import VIMHError
from src.vimh.format import (
    METADATA_BYTES,
    METADATA_BYTES_2_0,
    check_headers,
    claimed_image_size,
    codes_by_id,
    directory_name,
    pack,
    record_dtype,
)

# Height 2, width 3, channels 2; -80 dB and 0.5 dB; two parameters with the codes 17 and 255; twelve pixels.
GOLDEN = bytes.fromhex("0200 0300 0200  0000a0c2 0000003f  02 0011 01ff  000102 030405  f0f1f2 f3f4f5")
GOLDEN_2_0 = bytes.fromhex("0200 0300 0200  02 0011 01ff  000102 030405  f0f1f2 f3f4f5")
GOLDEN_IMAGE = np.array([[[0, 1, 2], [3, 4, 5]], [[0xF0, 0xF1, 0xF2], [0xF3, 0xF4, 0xF5]]], dtype=np.uint8)

LAYOUTS = (METADATA_BYTES, METADATA_BYTES_2_0)


def sample_records(n=4, n_parameters=3, shape=(1, 2, 2)):
    rng = np.random.default_rng(0)
    return pack(
        record_dtype(shape, n_parameters, METADATA_BYTES),
        rng.integers(0, 256, (n, *shape), dtype=np.uint8),
        rng.integers(0, 256, (n, n_parameters), dtype=np.uint8),
        np.tile(np.float32([-80.0, 0.0]), (n, 1)),
    )


@pytest.mark.parametrize(("metadata_bytes", "golden"), [(METADATA_BYTES, GOLDEN), (METADATA_BYTES_2_0, GOLDEN_2_0)])
def test_a_record_is_these_bytes(metadata_bytes, golden):
    dtype = record_dtype((2, 2, 3), 2, metadata_bytes)
    code, spec_range = np.array([[17, 255]], dtype=np.uint8), np.array([[-80.0, 0.5]], dtype=np.float32)
    assert pack(dtype, GOLDEN_IMAGE[None], code, spec_range).tobytes() == golden


@pytest.mark.parametrize(("metadata_bytes", "golden"), [(METADATA_BYTES, GOLDEN), (METADATA_BYTES_2_0, GOLDEN_2_0)])
def test_these_bytes_are_a_record(metadata_bytes, golden):
    dtype = record_dtype((2, 2, 3), 2, metadata_bytes)
    assert dtype.fields["n_parameters"][1] == metadata_bytes
    (record,) = np.frombuffer(golden, dtype)
    assert [record[name] for name in ("height", "width", "channels", "n_parameters")] == [2, 3, 2, 2]
    assert record["labels"].tolist() == [(0, 17), (1, 255)]
    assert np.array_equal(record["image"], GOLDEN_IMAGE)
    assert metadata_bytes == METADATA_BYTES_2_0 or [record["spec_min"], record["spec_max"]] == [-80.0, 0.5]


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 300), st.integers(1, 5)),
    n_parameters=st.integers(1, 255),
    metadata_bytes=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 2**32),
)
def test_records_are_what_struct_packs(shape, n_parameters, metadata_bytes, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (2, *shape), dtype=np.uint8)
    code = rng.integers(0, 256, (2, n_parameters), dtype=np.uint8)
    spec_range = rng.normal(size=(2, 2)).astype(np.float32)
    channels, height, width = shape
    expected = b""
    for i in range(2):
        expected += struct.pack("<3H", height, width, channels)
        expected += struct.pack("<2f", *spec_range[i].tolist()) if metadata_bytes == METADATA_BYTES else b""
        expected += struct.pack("<B", n_parameters)
        expected += b"".join(struct.pack("<2B", p, code[i, p]) for p in range(n_parameters))
        expected += bytes(
            int(image[i, c, row, column]) for c in range(channels) for row in range(height) for column in range(width)
        )
    assert pack(record_dtype(shape, n_parameters, metadata_bytes), image, code, spec_range).tobytes() == expected


@given(st.permutations(range(5)), st.permutations(range(5)))
def test_codes_come_in_the_order_of_their_ids(first, second):
    code = np.arange(10, dtype=np.uint8).reshape(2, 5)
    records = sample_records(2, 5)
    for i, order in enumerate((first, second)):
        records["labels"]["id"][i], records["labels"]["code"][i] = order, code[i][list(order)]
    assert np.array_equal(codes_by_id(records, "train"), code)


@pytest.mark.parametrize("ids", [[0, 1, 1], [0, 1, 3], [255, 1, 2], [1, 2, 3]])
def test_ids_that_are_not_each_once_are_refused(ids):
    records = sample_records()
    records["labels"]["id"][2] = ids
    with pytest.raises(VIMHError, match=re.escape(f"train: record 102 holds the parameter ids {ids}")):
        codes_by_id(records, "train", 100)
    with pytest.raises(VIMHError, match="train: record 9 "):
        codes_by_id(records, "train", np.array([3, 5, 9, 11]))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("height", 3, "3, 2, 1, 3"),
        ("width", 0, "2, 0, 1, 3"),
        ("channels", 65535, "2, 2, 65535, 3"),
        ("n_parameters", 2, "2, 2, 1, 2"),
    ],
)
def test_a_header_that_says_something_else_is_refused(field, value, says):
    records = sample_records()
    check_headers(records, "train")
    records[field][1] = value
    with pytest.raises(VIMHError, match=f"train: record 51 says .* = {says}, but 2, 2, 1, 3 was expected"):
        check_headers(records, "train", 50)


@pytest.mark.parametrize("spec_range", [(np.nan, 0.0), (-80.0, np.inf), (-np.inf, 0.0), (1.0, 0.0)])
def test_levels_that_are_no_range_are_refused(spec_range):
    records = sample_records()
    records["spec_min"][3], records["spec_max"][3] = spec_range
    with pytest.raises(VIMHError, match="train: record 3 says spec_min"):
        check_headers(records, "train")


@pytest.mark.parametrize("shape", [(1, 65535, 65535), (65535, 65535, 65535), (2, 32768, 32768)])
def test_a_record_of_more_than_two_gigabytes_is_refused(shape):
    with pytest.raises(VIMHError, match="bytes"):
        record_dtype(shape, 1, METADATA_BYTES)


def test_directory_names_are_those_of_the_format():
    assert directory_name((1, 32, 32), 8000, 1.0, 256, "simple", 2) == "vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p"
    assert (
        directory_name((4, 64, 128), 44100.0, 0.25, 16384, "moog", 9, "noisy")
        == "vimh-64x128x4_44100Hz_0p25s_16384dss_moog_9p_noisy"
    )
    assert directory_name((1, 8, 8), 1, 1, 2, "s", 1) == "vimh-8x8x1_1Hz_1p0s_2dss_s_1p"
    assert directory_name((1, 8, 8), 1_234_567, 1, 2, "s", 1) == "vimh-8x8x1_1234567Hz_1p0s_2dss_s_1p"


@given(st.tuples(st.integers(1, 99), st.integers(1, 65535), st.integers(1, 65535)))
def test_a_directory_name_claims_its_dimensions(shape):
    channels, height, width = shape
    assert claimed_image_size(directory_name(shape, 8000, 1.0, 2, "s", 1)) == (height, width, channels)


@pytest.mark.parametrize("name", ["mine", "vimh-32x32", "vimh-axbxc", "my-vimh-1x2x3", "vimh_1x2x3"])
def test_other_names_claim_nothing(name):
    assert claimed_image_size(name) is None


def test_a_bare_claim_counts():
    assert claimed_image_size("vimh-28x30x12") == (28, 30, 12)
    assert claimed_image_size("vimh-28x30x12-old") == (28, 30, 12)
