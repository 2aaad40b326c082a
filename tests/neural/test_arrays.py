""".npy, .npz and CSV files: bit for bit, in order, with ids where they carry them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netphys.errors import NeuralDataError
from netphys.neural import load_neural


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_and_npz_keep_every_value(tmp_path: Path, listed, stack, dtype, order):
    values = np.asarray(np.round(stack * 100) if dtype == "u1" else stack, dtype=dtype, order=order)
    upper = np.triu_indices(6, 1)
    wanted = values[:, upper[0], upper[1]].astype(np.float64)
    np.save(tmp_path / "rdms.npy", values)
    np.savez(tmp_path / "rdms.npz", IT=values, EVC=values[::-1])
    np.savez_compressed(tmp_path / "small.npz", IT=values)
    for address in ("rdms.npy", "rdms.npz?variable=IT", "small.npz"):
        data = load_neural(tmp_path / address, ids=listed)
        np.testing.assert_array_equal(data.dissimilarities, wanted)
        assert data.subjects == ("subject1", "subject2", "subject3", "subject4")
    last = load_neural(f"{tmp_path / 'rdms.npz'}?variable=EVC&index=1:3&subject=x,y&region=EVC&name=set", ids=listed)
    np.testing.assert_array_equal(last.dissimilarities, wanted[::-1][1:3])
    assert (last.subjects, last.region, last.name) == (("x", "y"), "EVC", "set")


def test_npz_carries_its_own_ids(tmp_path: Path, listed, ids, stack, pairs):
    shuffled = np.array(ids)[[3, 1, 0, 2, 5, 4]]
    np.savez(tmp_path / "own.npz", rdms=stack, stimulus_id=shuffled)
    data = load_neural(tmp_path / "own.npz")
    assert data.stimulus_ids == tuple(shuffled) and data.source.endswith("by stimulus_id")
    np.testing.assert_array_equal(data.dissimilarities, pairs)
    with pytest.raises(NeuralDataError, match=r"carries its own stimulus ids \('d', ...\).*leave ids out"):
        load_neural(tmp_path / "own.npz", ids=listed)  # the same ids in another order would join rows wrongly
    assert load_neural(tmp_path / "own.npz", ids=list(shuffled)).stimulus_ids == tuple(shuffled)


def test_stacks_that_may_be_either_way_round(tmp_path: Path, listed, stack, pairs):
    cube = np.concatenate([stack, stack[:2] * 2])  # (6, 6, 6)
    np.save(tmp_path / "first.npy", cube)
    np.save(tmp_path / "last.npy", cube.transpose(1, 2, 0))
    with pytest.raises(NeuralDataError, match=r"say stack=first or stack=last"):
        load_neural(tmp_path / "first.npy", ids=listed)
    for file, stacked in (("first.npy", "first"), ("last.npy", "last")):
        data = load_neural(f"{tmp_path / file}?stack={stacked}", ids=listed)
        np.testing.assert_array_equal(data.dissimilarities[:4], pairs)


@pytest.mark.parametrize("header", ["none", "columns", "both", "numeric"])
def test_csv_matrix(tmp_path: Path, listed, ids, stack, pairs, header):
    names = [str(at) for at in range(1, 7)] if header == "numeric" else list(ids)
    lines = [",".join(map(repr, map(float, row))) for row in stack[1]]
    if header == "both":
        lines = [f"{name},{line}" for name, line in zip(names, lines)]
    if header != "none":
        lines.insert(0, ("," if header == "both" else "") + ",".join(names))
    (tmp_path / "rdm.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = load_neural(tmp_path / "rdm.csv", ids=listed if header == "none" else None)
    np.testing.assert_array_equal(data.dissimilarities, pairs[[1]])
    assert data.stimulus_ids == tuple(names)


def test_csv_mistakes(tmp_path: Path, listed):
    for text, told in {
        "1,2\n3\n": r"row 2 has 1 cells, others have 2",
        "a,b,c\n0,1,x\n1,0,1\n2,1,0\n": r"holds a cell that is no number",
        ",a,b,c\na,0,1,2\nc,1,0,3\nb,2,3,0\n": r"rows and its columns have different ids",
        "a,b,c\n": r"no numbers below its header",
        "\n": r"has no rows",
        "a,b\n0,1,2\n1,0,3\n2,3,0\n": r"row 1 has 2 cells, others have 3",
    }.items():
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(NeuralDataError, match=told):
            load_neural(tmp_path / "bad.csv", ids=listed)
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(NeuralDataError, match=r"not a CSV file in UTF-8"):
        load_neural(tmp_path / "bad.csv", ids=listed)


def test_responses_become_an_assembly(tmp_path: Path, listed, ids, responses):
    trials = np.stack(
        [responses, responses + 1.0, np.full_like(responses, np.nan)], axis=-1
    )  # stimulus neuroid repetition
    trials[2, :, 1] = np.nan  # the third stimulus was shown once
    np.savez(tmp_path / "rates.npz", rates=responses, trials=trials.transpose(1, 0, 2))
    data = load_neural(f"{tmp_path / 'rates.npz'}?variable=rates&kind=responses&region=V4&subject=PE", ids=listed)
    assert data.kind == "assembly" and data.dissimilarities is None and data.region == "V4" and data.subjects == ("PE",)
    assert data.assembly.dims == ("presentation", "neuroid") and data.stimulus_ids == ids
    np.testing.assert_array_equal(data.assembly.values, responses)
    axes = "axes=neuroid,stimulus,repetition"
    long = load_neural(f"{tmp_path / 'rates.npz'}?variable=trials&kind=responses&{axes}", ids=listed).assembly
    assert long.shape == (11, 3)  # 6 first and 5 second presentations; a presentation that is NaN throughout was none
    second = long.isel(presentation=long["repetition"].values == 1)
    np.testing.assert_array_equal(second.values, np.delete(responses, 2, axis=0) + 1.0)
    assert second["stimulus_id"].values.tolist() == [each for each in ids if each != ids[2]]


def test_responses_as_a_table(tmp_path: Path, ids, responses):
    lines = ["stimulus_id,n1,n2,n3"] + [
        f"{name},{','.join(map(repr, map(float, row)))}" for name, row in zip(ids, responses)
    ]
    (tmp_path / "rates.csv").write_text("\n".join(lines), encoding="utf-8")
    data = load_neural(f"{tmp_path / 'rates.csv'}?kind=responses")
    np.testing.assert_array_equal(data.assembly.values, responses)
    assert data.stimulus_ids == ids and data.assembly["neuroid_id"].values.tolist() == ["n1", "n2", "n3"]


def test_responses_that_are_none(tmp_path: Path, listed, responses):
    np.save(tmp_path / "four.npy", np.zeros((6, 4)))
    np.save(tmp_path / "rates.npy", responses)
    np.save(tmp_path / "inf.npy", np.where(responses > 0, np.inf, responses))
    for address, told in {
        "four.npy?index=0": r"is no RDM: .* read by \?kind=responses",
        "rates.npy": r"has 3 stimuli, but .* lists 6",  # 6 subjects of 3 stimuli, by its shape
        "rates.npy?kind=responses&axes=neuroid,stimulus": r"has 3 stimuli, but .* lists 6",
        "rates.npy?kind=responses&axes=stimulus,neuroid,repetition": r"nothing that can be responses",
        "rates.npy?kind=responses&index=0": r"leave them out with kind=responses",
        "rates.npy?kind=responses&subject=a,b": r"does not say which neuroid is whose .*one for all, or one each \(3\)",
        "inf.npy?kind=responses": r"holds infinity",
    }.items():
        with pytest.raises(NeuralDataError, match=told):
            load_neural(tmp_path / address, ids=listed)


@pytest.mark.parametrize("name", ["stimulus_id", "image_id", "presentation", "file", "Image_ID", ""])
def test_a_numeric_first_column_of_ids_is_no_neuroid(tmp_path: Path, listed, responses, name):
    lines = [f"{name},n1,n2,n3"] + [
        f"{9 - at},{','.join(map(repr, map(float, row)))}" for at, row in enumerate(responses)
    ]
    (tmp_path / "rates.csv").write_text("\n".join(lines))
    data = load_neural(f"{tmp_path / 'rates.csv'}?kind=responses")
    np.testing.assert_array_equal(data.assembly.values, responses)  # with 9, 8, ... as a fourth neuroid before
    assert data.stimulus_ids == tuple("987654")
    with pytest.raises(NeuralDataError, match=r"carries its own stimulus ids"):
        load_neural(f"{tmp_path / 'rates.csv'}?kind=responses", ids=listed)


def test_a_first_column_that_may_be_ids_is_asked_for(tmp_path: Path, listed, ids, responses):
    def write(first, header="trial", rest=responses):
        lines = [f"{header},n1,n2"] + [f"{a},{b!r},{c!r}" for a, (b, c) in zip(first, rest[:, :2].tolist())]
        (tmp_path / "rates.csv").write_text("\n".join(lines))

    def read(query="", **options):
        return load_neural(f"{tmp_path / 'rates.csv'}?kind=responses{query}", **options)

    for numbers, rest in ((range(6), responses), (range(6), np.ones((6, 2))), ([1, 1, 2, 2, 3, 3], responses)):
        write(numbers, rest=rest)
        with pytest.raises(NeuralDataError, match=r"'trial', may be ids .*; say first=ids, or first=values"):
            read(ids=listed)
        assert read("&first=values", ids=listed).assembly.shape == (6, 3)
    write([3, 1, 4, 0, 5, 9])
    assert read("&first=ids").stimulus_ids == tuple("314059")
    write(responses[:, 2].tolist(), "n0")  # rates are no ids
    assert read(ids=listed).assembly.shape == (6, 3) and read(ids=listed).stimulus_ids == ids
    write([3, 3, 4, 0, 5, 9], "n0", rest=np.arange(12).reshape(6, 2) % 3)  # nor are counts of spikes
    assert read(ids=listed).assembly.shape == (6, 3)
    (tmp_path / "rates.csv").write_text("n1,image_id\n" + "\n".join(f"{at / 7},{at}" for at in range(6)))
    with pytest.raises(NeuralDataError, match=r"column 'image_id' holds ids and is not the first"):
        read(ids=listed)
