"""What is said of neural data: facts in words, what is left to say, and addresses that would read a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.io import savemat
from scipy.stats import rankdata, spearmanr

from netphys.errors import FileError, NeuralDataError
from netphys.neural.telling.drawing import agreement, choice_shares
from netphys.neural.telling.suggesting import IDS_WANTED, suggest
from netphys.neural.telling.understanding import understand

IDS = [f"s{at}" for at in range(12)]


@pytest.fixture
def trials(tmp_path: Path) -> Path:
    """Responses of 5 neuroids to 12 stimuli, 2 or 3 times each: a signal and noise."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 12, 1)) + 0.5 * rng.normal(size=(5, 12, 3))
    values[:, :4, 2] = np.nan
    np.savez(tmp_path / "trials.npz", trials=values)
    return tmp_path / "trials.npz"


def test_an_assembly_is_told(trials):
    understood = understand(f"{trials}?kind=responses&axes=neuroid,stimulus,repetition&region=V4", ids=IDS)
    facts = understood.facts
    assert facts["what"] == "an assembly of responses"
    assert facts["stimuli"] == "12: s0, s1, s2, s3, ..."
    assert facts["presentations"] == "32, 2 to 3 of each stimulus"
    assert facts["neuroids"].startswith("5: ") and facts["regions"] == "V4 (5)"
    assert facts["source"] == "trials.npz, variable trials, region=V4, by order to the given ids"  # the whole sentence
    assert "float64" in facts["values"] and "missing" not in facts["values"]
    assert "5 neuroids" in facts["reliability"]
    assert any("subject=NAME" in each for each in understood.unsaid)
    assert not any("region" in each for each in understood.unsaid)  # it was said
    assert len(understood.to_frame()) == 5


def test_without_repetitions_reliability_is_unknown(trials, tmp_path):
    np.save(tmp_path / "once.npy", np.random.default_rng(1).normal(size=(12, 5)))
    understood = understand(f"{tmp_path / 'once.npy'}?kind=responses", ids=IDS)
    assert understood.reliability is None
    assert understood.facts["reliability"] == "unknown: no stimulus was shown twice"


def test_what_would_have_to_be_said(trials):
    understood = understand(str(trials), ids=IDS)
    assert understood.data is None and "holds nothing that can be RDMs" in understood.problem
    assert understood.facts["  trials"] == "5 x 12 x 3"
    assert understood.suggestions  # and what is suggested reads
    for address in understood.suggestions:
        assert understand(address, ids=IDS).data is not None
    with pytest.raises(NeuralDataError, match="nothing to draw"):
        understood.panels()
    with pytest.raises(NeuralDataError, match="holds nothing that can be RDMs"):
        understood.to_frame()


def test_ids_that_are_missing_are_asked_for(trials):
    address = f"{trials}?kind=responses&axes=neuroid,stimulus,repetition"
    assert understand(address).suggestions == (f"{address} --ids FILE.csv:COLUMN",)


def test_what_nothing_said_would_mend_is_raised(tmp_path):
    with pytest.raises(FileError, match="there is no file"):
        understand(tmp_path / "absent.npz")
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(FileError, match=r"damaged\.npz"):
        understand(tmp_path / "damaged.npz")


def test_rdms_and_how_subjects_agree(tmp_path, stack, pairs):
    np.save(tmp_path / "rdms.npy", stack)
    understood = understand(tmp_path / "rdms.npy", ids=list("abcdef"))
    each = agreement(understood.data)
    ranks = rankdata(pairs, axis=1)
    for row in range(4):
        others = np.delete(ranks, row, axis=0).mean(axis=0)
        assert each[row] == pytest.approx(spearmanr(pairs[row], others).statistic, abs=1e-12)
    within = [spearmanr(pairs[row], ranks.mean(axis=0)).statistic for row in range(4)]
    assert np.all(np.array(within) > each)  # control: with the subject inside the mean it would be higher
    assert f"mean {each.mean():.3f}" in understood.facts["agreement"]
    assert list(understood.to_frame()["r_others"]) == each.tolist()


RESPONSES = "f.npz?kind=responses&axes={}&region=IT"


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ([92, 92], ("f.npz?region=IT",)),  # an RDM
        ([4186], ("f.npz?region=IT",)),  # a triangle
        ([92, 168], (RESPONSES.format("stimulus,neuroid"),)),
        ([168, 92], (RESPONSES.format("neuroid,stimulus"),)),
        (
            [3, 92, 5],
            tuple(RESPONSES.format(axes) for axes in ("neuroid,stimulus,repetition", "repetition,stimulus,neuroid")),
        ),
        ([3, 4, 5], ()),  # no axis has as many
        ([], ()),
    ],
)
def test_suggestions_follow_the_number_of_stimuli(shape, found):
    ids = [str(at) for at in range(92)]
    told = suggest("f.npz?region=IT&variable=wrong", {"variables": {"it": shape}}, ids=ids)
    assert sorted(told) == sorted(found)
    several = suggest("f.npz", {"variables": {"it": shape, "names": [3]}, "kinds": {"names": "text"}}, ids=ids)
    assert len(several) == len(found) and all("variable=it" in each for each in several)


def test_a_panel_draws_on_the_axes_that_it_is_given(trials):
    from matplotlib.figure import Figure

    understood = understand(f"{trials}?kind=responses&axes=neuroid,stimulus,repetition", ids=IDS)
    titles = [title for title, _ in understood.panels()]
    assert titles == ["Responses", "Presentations", "Reliability"]
    figure = Figure()
    axes = figure.subplots(1, len(titles))
    for ax, (_, draw) in zip(axes, understood.panels()):
        assert draw(ax) is ax
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes[1].patches}
    assert heights == {2: 4, 3: 8}  # stimuli that were shown so often
    assert understood.plot().get_xlabel() == "stimulus"


def test_a_number_of_presentations_that_is_the_same_for_all_is_no_panel(tmp_path):
    np.save(tmp_path / "all.npy", np.random.default_rng(2).normal(size=(12, 5, 4)))
    address = f"{tmp_path / 'all.npy'}?kind=responses&axes=stimulus,neuroid,repetition"
    assert [title for title, _ in understand(address, ids=IDS).panels()] == ["Responses", "Neuroids", "Reliability"]


def _reads(address: str, ids=None) -> tuple[str, ...]:
    """What is suggested, after each was read."""
    told = understand(address, ids=ids)
    assert told.data is None and told.suggestions
    for each in told.suggestions:
        body, missing, _ = each.partition(IDS_WANTED)
        assert body != address or missing  # what failed is not told again
        if not missing:
            assert understand(body, ids=ids).data is not None
    return tuple(each.partition("?")[2] for each in told.suggestions)


def test_vectors_beside_an_array_say_what_its_axes_are(tmp_path):
    rng = np.random.default_rng(0)
    names = np.array([f"im{at % 12}" for at in range(24)])  # each twice: presentations
    held = {"rates": rng.random((24, 5, 8)), "images": names, "units": list("abcde"), "t": np.arange(8) * 10.0}
    np.savez(tmp_path / "a.npz", **held)
    axes = "variable=rates&kind=responses&axes=presentation,neuroid,time&stimulus=images&neuroid=units"
    assert _reads(str(tmp_path / "a.npz")) == (f"{axes}&time=t",)
    np.savez(tmp_path / "b.npz", **{**held, "t": np.arange(8) * 0.01 - 0.05})
    assert _reads(str(tmp_path / "b.npz")) == (f"{axes}&time=-50:30:10",)  # in seconds
    savemat(tmp_path / "c.mat", {"data": {**held, "images": names.astype(object), "day": "monday"}})
    dotted = axes.replace("=rates", "=data.rates").replace("=images", "=data.images").replace("=units", "=data.units")
    for query in ("", "?variable=data.rates", "?kind=responses"):
        (told,) = _reads(f"{tmp_path / 'c.mat'}{query}")
        assert told == f"{dotted}&time=data.t"
    told = understand(f"{tmp_path / 'c.mat'}")
    assert told.facts["  data.rates"] == "24 x 5 x 8"


def test_what_was_said_and_can_be_right_is_kept(trials, tmp_path):
    address = f"{trials}?axes=neuroid,stimulus,repetition&region=V4"
    (told,) = _reads(address, ids=IDS)
    assert told == "kind=responses&axes=neuroid,stimulus,repetition&region=V4"
    first, *_ = _reads(f"{trials}?variable=trails&kind=responses&axes=neuroid,stimulus,repetition", ids=IDS)
    assert first == "variable=trials&kind=responses&axes=neuroid,stimulus,repetition"  # the near name


def test_the_name_that_is_near_is_suggested(tmp_path):
    _assembly(40).to_netcdf(tmp_path / "it.nc", engine="h5netcdf")
    assert _reads(f"{tmp_path / 'it.nc'}?region=PIT&session=monday") == ("region=IT&session=monday",)
    assert "axes" not in "".join(_reads(f"{tmp_path / 'it.nc'}?region=ITT"))  # which .nc has not


def _written(path: Path, *lines: str) -> Path:
    """Write a table."""
    path.write_text("\n".join(lines) + "\n")
    return path


def _assembly(n_stimuli: int, repetitions: int = 2) -> xr.DataArray:
    """Responses of three neuroids with other coordinates."""
    shown = [f"s{at}" for at in range(n_stimuli)] * repetitions
    coords = {
        "stimulus_id": ("presentation", shown),
        "repetition": ("presentation", np.repeat(np.arange(repetitions), n_stimuli)),
        "contrast": ("presentation", np.linspace(0.1, 0.9, len(shown))),
        "neuroid_id": ("neuroid", list("abc")),
        "region": ("neuroid", ["IT"] * 3),
        "session": ("neuroid", ["monday"] * 3),
        "quality": ("neuroid", ["good", "good", "noise"]),
    }
    values = np.random.default_rng(0).normal(size=(len(shown), 3))
    return xr.DataArray(values, dims=("presentation", "neuroid"), coords=coords, name="data")


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["image,site,rate", *(f"i{at % 4},n{at % 2},{at}.5" for at in range(8))],
         "form=long&stimulus=image&neuroid=site&value=rate"),
        (["stimulus_id,neuroid_id,value", "a,n0,1.5", "b,n0,2.5", "c,n0,3.5"], "form=long"),
        (["subject,image,answer", "p,i0,car", "p,i1,dog", "p,i2,dog"], "kind=behaviour&stimulus=image&value=answer"),
        (["number,u0,u1", *(f"{at + 7},{at}.5,{at}.25" for at in range(9))], "kind=responses&first=ids"),
    ],
)  # fmt: skip
def test_tables_say_how_they_are_read(lines, found, tmp_path):
    assert _reads(str(_written(tmp_path / "table.csv", *lines)))[0] == found


def test_where_nothing_reads_nothing_is_suggested(tmp_path):
    assembly = _assembly(40)
    assembly["stimulus_id"].values[3] = ""
    assembly.to_netcdf(tmp_path / "it.nc", engine="h5netcdf")
    assert understand(tmp_path / "it.nc").suggestions == ()


def test_too_few_stimuli_shown_twice_leave_the_rest(tmp_path):
    assembly = _assembly(12).isel(presentation=slice(0, 13))  # one stimulus is there twice
    assembly.to_netcdf(tmp_path / "few.nc", engine="h5netcdf")
    understood = understand(tmp_path / "few.nc")
    assert understood.reliability is None and understood.facts["presentations"] == "13, 1 to 2 of each stimulus"
    assert understood.facts["reliability"].startswith("unknown: 1 of 12 stimuli were shown twice or more")
    assert len(understood.to_frame()) == 3 and understood.panels()
    one = understand(f"{tmp_path / 'few.nc'}?where=stimulus_id == 's0'")
    assert one.facts["reliability"].startswith("unknown: ")


def test_other_coordinates_and_what_reliability_is_of(tmp_path):
    assembly = _assembly(40)
    timed = xr.concat([assembly, assembly + 1.0, assembly], "time_bin").transpose("presentation", "neuroid", "time_bin")
    for which, edges in (("start", [-50.0, 0.0, 50.0]), ("end", [0.0, 50.0, 100.0])):
        timed = timed.assign_coords({f"time_bin_{which}": ("time_bin", edges)})
    timed.to_netcdf(tmp_path / "it.nc", engine="h5netcdf")
    facts = understand(tmp_path / "it.nc").facts
    assert facts["quality"] == "good (2), noise (1), a neuroid" and facts["contrast"] == "0.1 to 0.9, a presentation"
    assert "of the mean of 0 to 100 ms" in facts["reliability"] and "95 % intervals" in facts["reliability"]


def test_times_are_only_asked_for_where_they_can_be_said(tmp_path, trials):
    _assembly(12).to_netcdf(tmp_path / "it.nc", engine="h5netcdf")
    assert not any("time=" in each for each in understand(tmp_path / "it.nc").unsaid)
    told = understand(f"{trials}?kind=responses&axes=neuroid,stimulus,repetition", ids=IDS).unsaid
    assert any("time=START:STOP:WIDTH" in each for each in told)


def test_shares_are_of_the_trials_that_offered_a_choice():
    nan = np.nan
    values = [[1, 0, nan, nan], [0, nan, 1, nan], [1, nan, 0, nan], [nan, 1, 0, nan]]
    coords = {"stimulus_id": ("presentation", ["a", "a", "a", "b"]), "choice": ["car", "dog", "face", "hand"]}
    assembly = xr.DataArray(np.array(values), dims=("presentation", "choice"), coords=coords)
    ids, shares = choice_shares(assembly)
    assert ids == ("a", "b")
    np.testing.assert_array_equal(shares, [[2 / 3, 0, 1 / 2, nan], [nan, 1, 0, nan]])  # control: sums would be NaN
    assert np.isnan(assembly.values[:3].sum(axis=0)).sum() == 3


def test_a_figure_says_what_it_is_of(tmp_path):
    assembly = _assembly(10).assign_coords(time_bin_start=70.0, time_bin_end=170.0)
    assembly.to_netcdf(tmp_path / "it.nc", engine="h5netcdf")
    understood = understand(tmp_path / "it.nc")
    assert understood.title == "it, IT, 70 to 170 ms, 3 neuroids, 10 stimuli, 20 presentations"
    ax = understood.plot()
    assert [each.get_text() for each in ax.get_xticklabels()] == [f"s{at}" for at in range(10)]
