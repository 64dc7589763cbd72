import io

import pytest
import rich
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from torch.utils.data import DataLoader

from src.callbacks import progress_bar
from src.callbacks.progress_bar import TimedProgressBar


class Module(LightningModule):
    """Trains nothing to speak of."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_idx):
        return self.weight.square()

    def validation_step(self, batch, batch_idx):
        return None

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """Trains two epochs of five batches with a bar on a terminal, some time passing each time that it is asked for.

    Returns the batches that the bar heard of, and what was on the terminal.
    """
    heard, screen = [], io.StringIO()

    def note(self, trainer, pl_module, outputs, batch, batch_idx):
        heard.append(batch_idx)
        original(self, trainer, pl_module, outputs, batch, batch_idx)

    original = RichProgressBar.on_train_batch_end
    monkeypatch.setattr(RichProgressBar, "on_train_batch_end", note)

    def train(seconds, **settings):
        clock = iter(i * seconds for i in range(100))
        monkeypatch.setattr(progress_bar, "monotonic", lambda: next(clock))
        console = {"force_terminal": True, "width": 100, "file": screen}
        trainer = Trainer(
            default_root_dir=tmp_path,
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[TimedProgressBar(console_kwargs=console, **settings)],
        )
        trainer.fit(Module(), DataLoader(torch.ones(5)), DataLoader(torch.ones(1)))
        return heard, screen.getvalue()

    yield train
    rich.reconfigure()


pytestmark = pytest.mark.filterwarnings("ignore:The .*_dataloader")


def test_the_bar_hears_of_a_batch_now_and_then_and_of_the_last(shown):
    heard, screen = shown(0.0)
    assert heard == [4, 4]
    assert "5/5" in screen
    assert "Epoch 1/1" in screen


def test_slow_batches_are_all_shown(shown):
    heard, _ = shown(1.0, refresh_rate=2)
    assert heard == 2 * [0, 1, 2, 3, 4]


def test_a_bar_that_is_never_drawn_hears_nothing(shown):
    heard, screen = shown(1.0, refresh_rate=0)
    assert heard == []
    assert screen == ""
