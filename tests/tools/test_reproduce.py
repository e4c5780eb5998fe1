"""`make reproduce` and the last line of `make`, on committed results that hold and on some that do not."""

import hashlib
import io
import json
import re

import numpy as np
import pytest

from tests.project import ENGINES, Project

REPRODUCE = ("python", "-m", "stages.tools.reproduce")
RESULTS = ("python", "-m", "stages.tools.results")


def test_the_last_line_of_make_says_that_results_are_the_committed_ones_or_which_are_not(project: Project) -> None:
    project.install()
    assert project.run("make").stdout.endswith("\nresults identical to the committed ones\n")
    project.set({"scratch.optimizer.learning_rate": "0.02"})
    project.dvc("repro", "compare")
    line = project.run(*RESULTS).stdout
    assert line.count("\n") == 1
    assert line.startswith(
        "results differ from the committed ones: data/filters/scratch.npy, data/predictions/scratch.npy, metrics/"
    )
    assert line.endswith("; changed since: params.yaml\n")
    assert "torch" not in line


def lines_of(output: str) -> dict[str, str]:
    """What the report says of each output."""
    report = output.partition("computed again\n")[2]
    return dict(re.findall(r"^(data/\S+|metrics/\S+|models/\S+|plots/\S+) +(.+)$", report, re.MULTILINE))


@pytest.mark.slow
def test_results_of_the_committed_code_are_reproduced_in_a_clone(project: Project) -> None:
    project.set({"seed": "7"})  # what is not committed takes no part
    output = project.run(*REPRODUCE).stdout
    lines = lines_of(output)
    assert "uncommitted changes are left out\n" in output
    assert set(lines.values()) == {"identical"}
    assert lines.keys() >= {"data/raw", "data/processed", "plots/images"} | {
        f"metrics/{engine}.json" for engine in ENGINES
    }
    assert output.endswith("\nresults identical to the committed ones\n")
    assert re.search(r"^processor: .+\nkernels: NumPy \w+, OpenBLAS .+\npackages: numpy \d", output, re.MULTILINE)


@pytest.mark.slow
def test_results_that_the_committed_code_does_not_give_are_named_with_their_first_difference(project: Project) -> None:
    """Forged ones: an accuracy, predictions and a split, recorded in dvc.lock; and another release of NumPy.

    And the results of an engine that has been removed from the pipeline, but not from dvc.lock and git.

    The predictions of torch are not in DVC's cache, as in a clone whose committer pushed nothing.
    """
    accuracy = project.load_json("metrics/torch.json")["accuracy"]
    metrics = {**project.load_json("metrics/torch.json"), "accuracy": accuracy + 0.125}
    (project.folder / "metrics/torch.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    for name in ("data/predictions/scratch.npy", "data/predictions/torch.npy", "data/processed/validation_labels.npy"):
        array = np.load(io.BytesIO(project.read(name)))
        array.flat[3] += 1
        (project.folder / name).unlink()
        np.save(project.folder / name, array)
    constraints = re.sub(r"^numpy==.*$", "numpy==1.0", project.read("constraints.txt").decode(), flags=re.MULTILINE)
    (project.folder / "constraints.txt").write_text(constraints, encoding="utf-8")
    project.dvc("commit", "--force")
    (project.folder / "metrics/softmax.json").write_bytes(b"{}")
    with (project.folder / "dvc.lock").open("a") as lock:
        output = {"path": "metrics/softmax.json", "hash": "md5", "md5": hashlib.md5(b"{}").hexdigest(), "size": 2}
        lock.write(f"  evaluate@softmax:\n    cmd: removed\n    outs: {json.dumps([output])}\n")
    digest = hashlib.md5(project.read("data/predictions/torch.npy")).hexdigest()
    (project.folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).unlink()
    project.commit("Forged results")
    done = project.run(*REPRODUCE, check=False)
    lines = lines_of(done.stdout)
    different = {name: line for name, line in lines.items() if line != "identical"}
    assert different.pop("data/predictions/torch.npy").startswith("differs; its committed bytes are not in DVC's cache")
    assert different.pop("metrics/softmax.json") == "missing: the committed pipeline does not make it"
    assert different.keys() == {"metrics/torch.json", "data/predictions/scratch.npy", "data/processed"}
    assert different["metrics/torch.json"].startswith(f"differs first in accuracy: {accuracy} instead of ")
    assert different["data/predictions/scratch.npy"].endswith("; largest difference 1")
    assert different["data/processed"].startswith("validation_labels.npy differs first in array[3]: ")
    cause = f"packages differ from constraints.txt: numpy {np.__version__} instead of 1.0"
    assert done.stdout.startswith(f"{cause}; results may differ for that reason\n")
    assert done.stdout.endswith(f"5 of {len(lines)} outputs differ from the committed ones; {cause}\n")
    assert done.returncode == 1
