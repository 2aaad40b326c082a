"""kill -9 at random moments of a study of seconds, then the same call: it finishes, equal to an undisturbed run.

One server process imports everything and forks a child a run, so that the moments fall into the work and not into the
imports. Kills are spread over the whole run, measured first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SERVER = """
import json, os, random, signal, sys, time
from pathlib import Path
import h5py, numpy, pandas, scipy.stats, torch, xarray, rsatoolbox, matplotlib.figure, jinja2
import netphys.studies, netphys.rsa, netphys.figures, netphys.recording, netphys.neural, netphys.stimuli.world
import netphys.training, netphys.units, netphys.probes, netphys.objectives
from netphys.recording.file import shards

torch.set_num_threads(1)
shards.SHARD_BYTES = 1 << 16
study, base, n_kills, sabotage = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "sabotage"


def child(out):
    pid = os.fork()
    if pid:
        return pid
    try:
        if sabotage:
            from netphys.studies.steps import Step, Steps, digest, slug, versions, write_json

            def remembered_first(self, name, inputs, make):
                key = digest({"step": name, "inputs": dict(inputs), "versions": versions()})
                record = self._records / f"{slug(name)}.json"
                if not record.exists():
                    write_json(record, {"name": name})
                    make()
                self.done.append(Step(name, key, False, 0.0, ()))
                return key

            Steps.run = remembered_first
        netphys.studies.run_study(study, out=out)
        os._exit(0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)


def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


started = time.monotonic()
assert wait(child(base / "reference")) == 0
whole = time.monotonic() - started
draw = random.Random(7)
killed, failed = 0, []
for run in range(n_kills):
    out = base / f"run-{run}"
    for _ in range(draw.randint(1, 3)):
        pid = child(out)
        time.sleep(draw.uniform(0, whole))
        os.kill(pid, signal.SIGKILL)
        killed += wait(pid) == -9
    if wait(child(out)) != 0:
        failed.append(run)
print(json.dumps({"killed": killed, "failed": failed, "seconds": whole}))
"""


TIMED = ("curve.csv", "curve.json", "network.toml", "training.json")  # of a training: they say how long it took


def contents(folder):
    """Everything that a study left, by relative path; of steps, and of what says seconds, only that they are there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(".netphys/"):
            found[name] = b"" if name.startswith("networks/") and path.name in TIMED else path.read_bytes()
    return found


def serve(study, base, n_kills, mode="plain"):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVER, str(study), str(base), str(n_kills), mode]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def check(study, base, n_kills):
    told = serve(study, base, n_kills)
    assert told["failed"] == []
    assert told["killed"] >= n_kills // 2  # else the kills came too late to mean anything
    reference = contents(base / "reference")
    assert len(reference) > 20
    for run in range(n_kills):
        found = contents(base / f"run-{run}")
        assert found.keys() == reference.keys(), run
        differing = [name for name in reference if found[name] != reference[name]]
        assert differing == [], run


def test_ten_kills_end_as_the_undisturbed_run(small_study, tmp_path):
    check(small_study, tmp_path, 10)


@pytest.mark.slow
def test_fifty_kills_end_as_the_undisturbed_run(small_study, tmp_path):
    check(small_study, tmp_path, 50)


@pytest.mark.slow
def test_kills_of_a_study_that_trains_end_as_the_undisturbed_run(trained_study, tmp_path):
    check(trained_study, tmp_path, 12)


def test_sabotage_a_step_remembered_before_it_is_done_is_seen(small_study, tmp_path):
    """Control: where a step's record comes before its outputs, kills leave studies that do not finish or differ."""
    told = serve(small_study, tmp_path, 6, "sabotage")
    reference = contents(tmp_path / "reference")
    wrong = [run for run in range(6) if contents(tmp_path / f"run-{run}") != reference]
    assert told["failed"] or wrong
