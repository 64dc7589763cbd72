from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from scripts.list_configs import ROOT
from src.programs.run_dirs import register_resolvers


@pytest.fixture
def composed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, composed_copy: Callable[..., DictConfig]
) -> Callable[..., DictConfig]:
    """Composes a configuration as a program would, with a run directory of the test."""
    monkeypatch.setenv("PROJECT_ROOT", str(ROOT))
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    register_resolvers()

    def make(name: str, *overrides: str) -> DictConfig:
        cfg = composed_copy(name, *overrides)
        with open_dict(cfg):
            cfg.hydra.runtime.output_dir = str(tmp_path / "run")
            cfg.hydra.job.num = 0
        HydraConfig.instance().set_config(cfg)
        return cfg

    return make
