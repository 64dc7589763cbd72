import csv
import math
import re
from xml.etree import ElementTree

import pytest

from scripts import study
from scripts.pages import read_json
from scripts.study import (
    FULL,
    N_TEST,
    N_TRAIN,
    QUICK,
    REPRESENTATIONS,
    SETS,
    SIZES,
    VALIDATIONS,
    Job,
    config_of,
    main,
    schedule,
    set_bytes,
)
from scripts.study_page import FIGURES, MARKS, RUNS, STYLES, difference_table, interval, keep, with_tables
from src.checkpoints.run import build_model
from src.hydra_versions import instantiate

SVG = "{http://www.w3.org/2000/svg}"


def run(representation="log-mel", model="cnn_tiny", sounds=256, seed=42, error=0.5, set_name="basic"):
    """A run as the study keeps it."""
    return {
        "set": set_name,
        "representation": representation,
        "model": model,
        "sounds": sounds,
        "seed": seed,
        "budget": 30.0,
        "seconds": 29.0,
        "steps": 100,
        "epochs": 3.5,
        "parameters": 8000,
        "picture_multiply_adds": 0 if representation == "waveform" else 890_000,
        "multiply_adds": 1_500_000,
        "error_jnd": error,
        "acc": 0.5,
        "nmae": 0.1,
    }


@pytest.fixture
def runs():
    """Three seeds of two arms on both sets."""
    entries = [
        run(*arm, sounds=sounds, seed=seed, error=0.5 / sounds + 0.01 * seed, set_name=set_name)
        for arm in (("log-mel", "cnn_tiny"), ("waveform", "wave_cnn_64k"))
        for sounds in (256, 1024)
        for seed in (42, 43, 44)
        for set_name in SETS
    ]
    return {str(number): entry for number, entry in enumerate(entries)}


def test_the_grid_is_that_of_the_issue():
    cells = list(FULL.cells())
    arms = {(cell.representation.name, cell.model) for cell in cells}
    assert len(arms) == 10
    assert {name for name, _ in arms} == set(STYLES)
    assert len({cell.key for cell in cells}) == len(cells) == 10 * 2 * 5 * 3
    assert cells[0].seed == cells[99].seed != cells[100].seed


@pytest.mark.parametrize("set_name", SETS)
def test_all_representations_hold_the_same_sounds(recipe_of, set_name):
    recipes = []
    for representation in REPRESENTATIONS:
        config_name, overrides = FULL.recipe(set_name, representation)
        recipes.append(recipe_of(*overrides, config_name=config_name))
    first = recipes[0]
    assert (first.n_train, first.size - first.n_train) == (N_TRAIN, N_TEST)
    for recipe in recipes:
        assert (recipe.values(0, 3) == first.values(0, 3)).all()
        assert recipe.config["synth"] == first.config["synth"]
    shapes = {r.name: recipe.representation.image_shape for r, recipe in zip(REPRESENTATIONS, recipes, strict=True)}
    n_frames, n_samples = {"basic": (32, 8_000), "envelope": (64, 16_000)}[set_name]
    assert shapes.pop("waveform") == (1, 1, n_samples)
    assert shapes.pop("bit stream") == (1, 16, n_samples)
    assert shapes.pop("multi-resolution")[0] == 3
    assert {shape[1:] for shape in shapes.values()} == {(32, n_frames)}
    assert {shape[0] for shape in shapes.values()} == {1, 2}


def test_no_set_of_the_project_has_the_seed_of_the_study(recipe_of):
    assert recipe_of().config["dataset"]["seed"] != study.DATASET_SEED != 7


def test_the_space_that_is_asked_for_is_that_of_the_records():
    (waveform,) = (r for r in REPRESENTATIONS if r.name == "waveform")
    assert set_bytes(FULL, "basic", waveform) == pytest.approx((N_TRAIN + N_TEST) * 8_000, rel=0.01)


@pytest.mark.parametrize("n_steps", [1, 7, 10, 99, 304])
@pytest.mark.parametrize("train_size", [20, 51])
def test_a_schedule_has_its_steps_however_many_sounds_there_are(compose_run, saw_dir, tmp_path, n_steps, train_size):
    data = (f"data.data_dir={saw_dir}", f"data.train_size={train_size}", "data.batch_size=16", "data.make_dataset=null")
    others = ("model=mlp_linear", "logger=none", "trainer.default_root_dir=null", "+trainer.num_sanity_val_steps=0")
    cfg = compose_run(tmp_path, *data, *others, *schedule(n_steps))
    datamodule = instantiate(cfg.data)
    module = build_model(cfg, datamodule.info, datamodule.aux_statistics())
    validated = []
    module.on_validation_end = lambda: validated.append(module.global_step)
    trainer = instantiate(cfg.trainer, callbacks=[], logger=False, enable_checkpointing=False)
    trainer.fit(module, datamodule=datamodule)
    assert abs(trainer.global_step - n_steps) <= VALIDATIONS / 2
    assert len(validated) == min(VALIDATIONS, n_steps)
    assert validated[-1] == trainer.global_step
    assert module.lr_schedulers().get_last_lr()[0] < 1e-3 * cfg.model.optimizer.lr or n_steps < 30


def test_every_arm_composes(tmp_path):
    for cell in {cell.key.rpartition(", 2")[0]: cell for cell in FULL.cells()}.values():
        cfg = config_of(Job(cell, tmp_path, tmp_path, 1.0), *schedule(100))
        assert list(cfg.data.aux) == ([] if cell.representation.is_samples else ["spec_min", "spec_max"])
        assert cfg.data.train_size in SIZES
        assert list(cfg.callbacks.model_checkpoint) != []


@pytest.mark.parametrize(("option", "ffts", "products"), [("stft", 1, 0), ("mel", 1, 1), ("waveform", 0, 0)])
def test_the_cost_of_a_picture_is_counted(recipe_of, option, ffts, products):
    """Of an STFT of 32 frames of 256 samples, and of 24 filters on the 129 bins of each."""
    recipe = recipe_of(
        *(f"representation={option}", "representation.win_length=256"),
        *("representation.width=32", "representation.height=24"),
        *(["representation.mel.f_min=100"] if option == "mel" else []),
    )
    counted = study.picture_multiply_adds(recipe.info("a test"))
    assert counted == pytest.approx(ffts * 32 * 1.25 * 256 * 8 + products * 32 * 129 * 24)


def test_differences_are_taken_seed_by_seed():
    """Seeds that differ much leave an interval as narrow as their difference from arm to arm is the same."""
    entries = [run("log-mel", seed=seed, error=0.1 * seed) for seed in (42, 43, 44)]
    entries += [run("+ modulation", seed=seed, error=0.1 * seed + 0.02 + 0.001 * (seed - 43)) for seed in (44, 42, 43)]
    table = difference_table({str(number): entry for number, entry in enumerate(entries)}, "basic")
    assert table.splitlines()[2] == "| + modulation, cnn_tiny | +0.020 ± 0.002 |"


def test_an_interval_is_students():
    mean, half = interval([1.0, 2.0, 4.5])
    assert mean == 2.5
    assert half == pytest.approx(4.302653 * math.sqrt(3.25 / 3), rel=1e-6)
    assert math.isnan(interval([1.0])[1])
    assert math.isnan(interval([1.0, 2.0])[1])


def test_results_are_kept_for_people_and_programs(tmp_path, runs):
    keep(runs, tmp_path)
    assert read_json(tmp_path / RUNS) == runs
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert [float(row["error_jnd"]) for row in rows] == [entry["error_jnd"] for entry in runs.values()]
    for name in FIGURES:
        root = ElementTree.parse(tmp_path / name).getroot()
        texts = {"".join(element.itertext()) for element in root.iter(f"{SVG}text")}
        assert {"log-mel", "waveform, 64k", "mean absolute error, grid steps"} <= texts
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    keep(read_json(tmp_path / RUNS), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_was_written_about_the_tables_stays(runs):
    page = with_tables(f"# Title\n\nFound: much.\n\n{''.join(MARKS)}\nMore.\n", runs)
    assert page.startswith("# Title\n\nFound: much.\n\n")
    assert page.endswith("\nMore.\n")
    assert "| log-mel, cnn_tiny | 0.432 ± 0.025 | 0.430 ± 0.025 |" in page
    assert "| waveform, wave_cnn_64k | +0.000 ± 0.000 | +0.000 ± 0.000 |" in page
    assert "| log-mel, cnn_tiny | 8,000 | 0.89 | 1.50 | 29 |" in page
    assert "| waveform, wave_cnn_64k | 8,000 | 0.00 | 1.50 | 29 | 3.5 | 0.500 | 0.1000 |" in page
    assert with_tables(page, runs) == page


def test_the_documentation_shows_the_runs_that_are_there():
    directory = study.ROOT / "docs" / "study"
    page = (directory / "index.md").read_text()
    assert with_tables(page, read_json(directory / RUNS)) == page
    for name in re.findall(r"\]\((\w+\.svg)\)", page):
        assert (directory / name).is_file()


def test_a_full_disk_is_found_before_anything_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1_000_000})())
    monkeypatch.setattr(study, "FULL", study.RunGrid(REPRESENTATIONS, SIZES, (42,), N_TRAIN, N_TEST, tmp_path / "sets"))
    assert main(["--output", str(tmp_path / "results"), "--only", "waveform"]) == 1
    assert re.search(r"take another 1\.\d GB, and 0\.0 GB are\s+free", capsys.readouterr().out)
    assert list((tmp_path / "sets").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["--budget", "0"], "0 is not above 0"),
        (["--only", "("], "no regular expression"),
        (["--jobs", "0"], "0 is not above 0"),
    ],
)
def test_a_command_line_that_cannot_be_followed_is_refused(arguments, fact, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert fact in capsys.readouterr().err


def test_without_runs_there_is_nothing_to_draw(tmp_path):
    assert main(["--page", "--output", str(tmp_path / "nothing")]) == 0
    assert not (tmp_path / "nothing").exists()


@pytest.mark.slow
def test_a_corner_of_the_study_runs_and_goes_on_where_it_was_interrupted(tmp_path, monkeypatch, capsys):
    grid = study.RunGrid(QUICK.representations, (256,), (42,), 256, 64, tmp_path / "sets")
    monkeypatch.setattr(study, "QUICK", grid)
    arguments = ["--quick", "--budget", "1", "--jobs", "2", "--output", str(tmp_path / "results")]
    assert main([*arguments, "--only", "log-mel"]) == 0
    first = read_json(tmp_path / "results" / RUNS)
    assert len(first) == 2
    assert main([*arguments, "--list"]) == 0
    assert len(set(capsys.readouterr().out.splitlines()) - {""}) >= 10
    assert main(arguments) == 0
    runs = read_json(tmp_path / "results" / RUNS)
    assert runs.keys() == {cell.key for cell in grid.cells()}
    assert {key: runs[key] for key in first} == first
    for entry in runs.values():
        assert entry["seconds"] > 0 and math.isfinite(entry["error_jnd"])
    assert len({(entry["steps"], entry["multiply_adds"]) for entry in runs.values()}) > 4
