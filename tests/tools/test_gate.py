"""The gate of `make gate`, on small results in real git repositories."""

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from scipy.stats import ttest_1samp

from stages.evaluation.paired import tango_interval
from stages.pipeline.errors import PipelineError
from stages.tools import gate
from stages.tools.baseline import read_workspace
from tests.project import GIT, Project, line_of, output_of

COUNT = 1000  # test images


def write_results(
    wrong: Iterable[int], *, dataset: str = "MNIST", count: int = COUNT, seeds: Mapping[int, float] | None = None
) -> None:
    """Both engines' results: torch's never change, scratch misclassifies these images."""
    for engine, mistakes in (("torch", [1, 2]), ("scratch", list(wrong))):
        accuracy = 1 - len(mistakes) / count
        folder = Path("plots") / engine
        folder.mkdir(parents=True, exist_ok=True)
        Path("metrics").mkdir(exist_ok=True)
        Path(f"metrics/{engine}.json").write_text(json.dumps({"dataset": dataset, "accuracy": accuracy}))
        (folder / "classes.csv").write_text(f"class,support,f1\n0,{count - 10},nan\n1,10,0.5\n")
        rows = [f"{index},0,1,0.5" for index in mistakes]
        (folder / "mistakes.csv").write_text("\n".join(["index,actual,predicted,confidence", *rows]) + "\n")
    Path("metrics/seeds.json").unlink(missing_ok=True)
    if seeds:
        content = {"seeds": list(seeds), "scratch": {"accuracies": list(seeds.values())}}
        Path("metrics/seeds.json").write_text(json.dumps(content))


def git(*arguments: str) -> None:
    subprocess.run([*GIT, *arguments], check=True, capture_output=True)


def commit(wrong: Iterable[int], **options: object) -> None:
    write_results(wrong, **options)  # type: ignore[arg-type]  # the keywords of write_results
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message", "Results")


@pytest.fixture
def repository(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one; the project is in it, or with a parameter in a folder of it."""
    folder, project = tmp_path / "repository", getattr(request, "param", "")
    (folder / project).mkdir(parents=True)
    monkeypatch.chdir(folder / project)
    git("init", "--quiet", str(folder))
    return folder


def is_shut(revision: str | None = None) -> bool:
    try:
        gate.compare(revision)
    except SystemExit:
        return True
    return False


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("kept", [0, 19, 20])
def test_the_gate_is_shut_from_the_first_image_at_which_the_paired_interval_lies_below_0(
    kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 20 mistakes, so many are still made; the others are corrected, so that a loss needs more new ones."""
    commit(range(20))
    fatal = next(new for new in range(50) if tango_interval(20 - kept, new, COUNT).high < 0)
    for new in (fatal - 1, fatal):
        write_results([*range(kept), *range(100, 100 + new)])
        assert is_shut() == (new == fatal)
        low, high = tango_interval(20 - kept, new, COUNT)
        assert f"on the same images: {low:+.2%} to {high:+.2%}\n" in capsys.readouterr().out
    with pytest.raises(
        SystemExit, match=r"the accuracy of scratch has fallen; to accept .* `git tag --force baseline`"
    ):
        gate.compare()


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("repository", ["", "projects/digits"], indirect=True)
def test_many_small_losses_are_measured_against_the_best_ancestor(capsys: pytest.CaptureFixture[str]) -> None:
    losses = [5, 0, 3, 6, 9]
    for loss in losses[:-1]:
        commit(range(100, 110 + loss))
        assert not is_shut() or loss == 6
    best = subprocess.check_output(["git", "rev-parse", "HEAD~2"], text=True)[:12]
    capsys.readouterr()
    write_results(range(100, 119))
    assert is_shut()
    assert f"accuracy 98.10%, in {best} 99.00%" in capsys.readouterr().out
    assert not is_shut("HEAD")  # three more mistakes than the last commit's say nothing
    assert is_shut("HEAD~2")
    git("tag", "baseline", "HEAD")
    assert not is_shut()
    assert "in baseline 98.40%" in capsys.readouterr().out
    git("tag", "--force", "baseline", "HEAD~2")
    assert is_shut()
    git("tag", "--force", "baseline", "HEAD~3")  # older and worse than the best, which is newer than the tag
    capsys.readouterr()
    assert is_shut()
    assert f"in {best} 99.00%" in capsys.readouterr().out


@pytest.mark.usefixtures("repository")
def test_a_side_branch_is_no_ancestor_to_compare_with() -> None:
    commit(range(20))
    git("checkout", "--quiet", "-b", "side")
    commit(range(3))
    git("checkout", "--quiet", "-")
    commit(range(21))
    git("merge", "--quiet", "--strategy", "ours", "side")
    write_results(range(22))
    assert not is_shut()
    assert is_shut("side")


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("options", [{"dataset": "KMNIST"}, {"count": COUNT + 1}])
def test_results_of_other_images_are_not_compared(
    options: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    commit(range(2), **options)
    write_results(range(90))
    assert not is_shut()
    assert capsys.readouterr().out.count("nothing to compare with") == 2
    with pytest.raises(PipelineError, match="HEAD has other test images"):
        gate.compare("HEAD")
    commit(range(88))
    write_results(range(90))
    assert not is_shut()
    assert "in " in capsys.readouterr().out


@pytest.mark.usefixtures("repository")
def test_without_results_in_git_there_is_nothing_to_compare_with(capsys: pytest.CaptureFixture[str]) -> None:
    (Path("params.yaml")).write_text("seed: 1\n")
    git("add", "--all")
    git("commit", "--quiet", "--message", "No results")
    write_results(range(90))
    assert not is_shut()
    assert "scratch: accuracy 91.00%, no commit has such results: nothing to compare with\n" in capsys.readouterr().out
    for revision, message in (("HEAD", "HEAD has no results with"), ("nowhere", "Needed a single revision")):
        with pytest.raises(PipelineError, match=message):
            gate.compare(revision)


def test_a_shallow_clone_compares_with_what_it_has(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (1, 30, 31):
        commit(range(wrong))
    folder = Path.cwd().relative_to(repository)
    git("clone", "--quiet", "--depth", "1", repository.as_uri(), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone" / folder)
    write_results(range(32))
    assert not is_shut()
    write_results(range(50))
    assert is_shut()


BEFORE = {1: 0.98, 2: 0.981, 3: 0.979, 4: 0.98}


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("loss", [0.0, 0.0005, 0.002, 0.003, 0.006, -0.01])
@pytest.mark.parametrize("spread", [0.0, 0.001])
def test_over_seeds_the_gate_is_shut_when_the_paired_t_interval_lies_below_0(
    loss: float, spread: float, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(range(20), seeds=BEFORE)
    changes = [0, -spread - loss, spread - loss, -loss]  # the first is the results' own accuracy
    after = {seed: BEFORE[seed] + change for seed, change in zip(BEFORE, changes, strict=True)}
    write_results(range(20), seeds=after)
    low, high = ttest_1samp(changes, 0).confidence_interval() if loss or spread else (0, 0)
    assert is_shut() == (high < 0)
    assert f"over 4 seeds: {low:+.2%} to {high:+.2%}\n" in capsys.readouterr().out.replace("-0.00%", "+0.00%") or low


@pytest.mark.usefixtures("repository")
def test_equal_losses_of_every_seed_shut_the_gate() -> None:
    commit(range(20), seeds=BEFORE)
    write_results(range(22), seeds={seed: accuracy - 0.002 for seed, accuracy in BEFORE.items()})
    assert is_shut()


@pytest.mark.usefixtures("repository")
def test_over_seeds_decides_in_place_of_one_run() -> None:
    """One seed may fall by chance of training, which the interval over images does not cover."""
    commit(range(20), seeds=BEFORE)
    write_results(range(100, 140), seeds={1: 0.96, 2: 0.99, 3: 0.99, 4: 0.99})
    assert not is_shut()
    write_results(range(100, 140))
    assert is_shut()


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    "seeds",
    [{1: 0.97, 2: 0.5, 3: 0.5, 4: 0.5}, {1: 0.98, 2: 0.5, 3: 0.5}, {1: 0.98}],
    ids=["of another run", "other seeds", "one seed"],
)
def test_seeds_that_cannot_be_paired_are_left_out(seeds: dict[int, float], capsys: pytest.CaptureFixture[str]) -> None:
    commit(range(20), seeds=BEFORE)
    write_results(range(20), seeds=seeds)
    assert not is_shut()
    assert "seeds" not in capsys.readouterr().out


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("path", ["metrics/scratch.json", "plots/scratch/mistakes.csv", "plots/scratch/classes.csv"])
@pytest.mark.parametrize("content", ["7", None])
def test_damaged_results_are_named_with_what_mends_them(path: str, content: str | None) -> None:
    commit(range(20))
    Path(path).unlink()
    if content:
        Path(path).write_text(f"index,support\n{content},x\n" if "csv" in path else content)
    if path.endswith("mistakes.csv") and content:
        Path(path).write_text("index\nx\n")
    with pytest.raises(PipelineError, match="damaged; make it again with `dvc repro --force evaluate@scratch`"):
        read_workspace("scratch")


def run_gate(project: Project) -> tuple[int, str]:
    """Its exit status and its last line."""
    done = project.run("python", "-m", "stages.tools.gate", check=False)
    return done.returncode, done.stdout.splitlines()[-1]


SHUT = "error: the results are not those of the workspace, run `dvc repro`: "


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("epoch", [0, 3], ids=["before its first epoch", "after an epoch"])
def test_after_an_interrupted_training_the_gate_is_shut_until_it_is_run_again(
    finished: Project, tmp_path: Path, epoch: int
) -> None:
    """The metrics, and all that dvc.lock says of them, are those of the run before."""
    project = finished.copy(tmp_path / "project")
    project.set({"training.epochs": "60"})
    project.dvc("repro", "compare")
    project.commit("Longer training")
    with project.started("dvc", "repro", "--force", "--single-item", "train_scratch") as process:
        line_of(process, f"epoch {epoch}/" if epoch else "Running stage 'train_scratch'")
        os.killpg(process.pid, signal.SIGINT)
        output_of(process)
    status, line = run_gate(project)
    state = "modified" if epoch else "deleted"
    assert (status, line.split(", compare (")[0]) == (1, f"{SHUT}train_scratch (plots/scratch/history.csv {state})")
    project.dvc("repro")
    assert run_gate(project)[0] == 0


def test_the_gate_works_in_a_fresh_clone_and_is_shut_by_whatever_is_not_of_the_committed_run(
    finished: Project, tmp_path: Path
) -> None:
    clone = finished.clone(tmp_path / "clone")
    assert run_gate(clone)[0] == 0
    clone.set({"training.epochs": "2"})
    (clone.folder / "metrics/parity.json").unlink()
    with (clone.folder / "stages/compare.py").open("a") as file:
        file.write("# a comment")
    expected = (
        "train_torch (params.yaml: training modified), train_scratch (params.yaml: training modified), "
        "compare (stages/compare.py modified) and 1 more"
    )
    assert run_gate(clone) == (1, f"{SHUT}{expected}")
