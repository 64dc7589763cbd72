"""What `play.py` makes of its options, without its server."""

import pytest
from hydra import compose

from src.errors import CheckpointError, ConfigError, VIMHError
from src.generation import generate
from src.hydra_versions import initialize_configs
from src.live.guard import kept_secret
from src.live.server import listen, shown_host
from src.tasks import play
from src.tasks.play import PlaySettings, checkpoints_of, instrument_alone, instrument_of

USUAL = {
    **dict.fromkeys(("run", "ckpt_path", "compare", "dataset")),
    "train_example": False,
    "generator": "synth/generate_simple_saw",
    "host": "127.0.0.1",
    "port": 0,
    "browser": False,
    "trusted_modules": (),
}


def settings(**changes):
    return PlaySettings(**USUAL | changes)


def composed(*overrides):
    with initialize_configs(play.ROOT / "configs"):
        return compose("play", [*overrides])


def test_the_options_are_those_of_the_configuration():
    found = play.read_section(PlaySettings, composed())
    assert found.model_dump() == settings(browser=True).model_dump()


@pytest.mark.parametrize("missing", [{}, {"run": "none"}])
def test_without_a_run_nothing_listens(tmp_path, missing):
    assert checkpoints_of(settings(**missing), tmp_path) == []
    with pytest.raises(ConfigError, match="compare=best: nothing else listens"):
        checkpoints_of(settings(compare="best", **missing), tmp_path)


def test_what_is_named_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match="Train first"):
        checkpoints_of(settings(run="best"), tmp_path)
    with pytest.raises(ConfigError, match="there is no such file"):
        checkpoints_of(settings(ckpt_path="nothing.ckpt"), tmp_path)
    with pytest.raises(VIMHError, match="nothing"):
        instrument_alone(settings(dataset=str(tmp_path / "nothing")))
    with pytest.raises(ConfigError, match=r"generator=synth/no: there is no such .* synth/generate_simple_saw"):
        instrument_alone(settings(generator="synth/no"))


def test_an_instrument_alone_is_that_of_a_dataset_or_of_a_configuration(saw_dir):
    stored, new = instrument_alone(settings(dataset=str(saw_dir))), instrument_alone(settings())
    assert (len(stored.samples), new.samples, new.networks) == (13, None, ())
    assert stored.space == new.space
    value = (new.space.low + new.space.high) / 2
    assert (stored.play(value, {}).picture.image == new.play(value, {}).picture.image).all()


def test_the_networks_of_runs_listen_and_test_sounds_are_those_of_the_training(ckpt_path, saw_dir, tmp_path):
    wanted = settings(ckpt_path=str(ckpt_path), compare=str(ckpt_path))
    instrument = instrument_of(wanted, checkpoints_of(wanted, tmp_path))
    assert len(instrument.networks) == 2
    assert len(instrument.samples) == 13
    assert all(network.n_weights > 0 and network.title for network in instrument.networks)


def test_a_dataset_of_other_parameters_gives_no_test_sounds(ckpt_path, recipe_of, tmp_path):
    other = recipe_of("dataset.size=4", "parameters.note_velocity.max=120")
    generate(other, tmp_path / "other")
    wanted = settings(ckpt_path=str(ckpt_path), dataset=str(tmp_path / "other"))
    instrument = instrument_of(wanted, checkpoints_of(wanted, tmp_path))
    assert instrument.samples is None


def test_networks_that_read_other_parameters_are_refused(ckpt_path, tmp_path):
    compat = play.ROOT / "tests" / "data" / "compat" / "compat_b.ckpt"
    wanted = settings(ckpt_path=str(ckpt_path), compare=str(compat))
    with pytest.raises(CheckpointError, match="the network"):
        instrument_of(wanted, checkpoints_of(wanted, tmp_path))


def test_the_example_is_trained_where_make_play_finds_no_run(tmp_path, monkeypatch):
    commands, served = [], []
    monkeypatch.setattr(play.subprocess, "run", lambda command, **options: commands.append(command) or Done())
    monkeypatch.setattr(play, "serve", lambda app, port, **options: served.append((port, options)))

    class Done:
        returncode = 0

    play.play(composed("train_example=true", "port=8765", f"paths.log_dir={tmp_path}/logs"))
    ((*_, program, experiment, log_dir, _),) = commands
    assert program.endswith("train.py")
    assert experiment == "experiment=example"
    assert str(tmp_path / "logs") in log_dir
    ((port, options),) = served
    assert port == 8765
    assert options["host"] == "127.0.0.1"
    assert options["secret"] == kept_secret(tmp_path / "logs" / "play" / "secret")


def test_a_failed_training_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(play.subprocess, "run", lambda command, **options: type("Done", (), {"returncode": 1}))
    with pytest.raises(ConfigError, match="could not be trained"):
        play.train_example(tmp_path)


# ----- where it is served


def test_the_secret_is_kept_and_nobody_else_can_read_it(tmp_path):
    path = tmp_path / "play" / "secret"
    secret = kept_secret(path)
    assert kept_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("short")
    assert len(kept_secret(path)) == 32
    assert kept_secret(path) != secret


def test_where_nothing_can_be_kept_each_server_has_its_own_secret(tmp_path):
    (tmp_path / "play").write_text("")
    assert len({kept_secret(tmp_path / "play" / "secret") for _ in range(3)}) == 3


def test_hosts_that_are_not_this_machines_are_refused():
    with pytest.raises(ConfigError, match=r"host=192\.0\.2\.1, port=0: cannot be listened on"):
        listen(0, "192.0.2.1", "port=")
    with pytest.raises(ConfigError, match="port=65536: it must be 0 to 65535"):
        listen(65536, "127.0.0.1", "port=")


def test_addresses_are_those_that_others_can_use():
    assert shown_host("127.0.0.1") == "127.0.0.1"
    assert shown_host("::1") == "[::1]"
    assert shown_host("0.0.0.0") not in ("0.0.0.0", "")
