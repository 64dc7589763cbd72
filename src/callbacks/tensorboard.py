"""TensorBoard: its writers, and under which tags it shows what is logged."""

from collections.abc import Mapping

from lightning.pytorch import Trainer, loggers
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard import SummaryWriter

STAGES = ("train", "val")
# Tags are sorted, and the part before the first stroke is a group. What is read most gets the first ones.
FIRST = {
    "loss": "1 loss/{stage}",
    "acc": "2 accuracy/{stage}",
    "acc_best": "2 accuracy/{stage}, best so far",
    "steps": "3 error/mean in steps/{stage}",
}
FIRST_BY_HEAD = {"mae": "3 error/{head}/{stage}", "acc": "4 accuracy by head/{head}/{stage}"}
OTHER_MEANS, OTHERS_BY_HEAD = "5 other means", "6 other figures by head"
# The longer of two that end alike comes first.
OF_HEADS = ("balanced_acc", "acc", "acc1", "coverage", "ece", "f1", "mae", "nmae", "steps")
TRAINING, GRADIENTS = "7 training", "8 gradients"


class TensorBoardLogger(loggers.TensorBoardLogger):
    """Lightning's logger, which writes metrics under tags that TensorBoard shows in order, see `tag_of`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write numbers.

        Args:
            metrics: Name to number.
            step: Optimizer steps.
        """
        super().log_metrics({tag_of(name): number for name, number in metrics.items()}, step)


def tag_of(metric: str) -> str:
    """The tag that TensorBoard shows a metric under: what is compared stands together, what matters first.

    `val/loss` is `1 loss/val`, `val/filter_cutoff_mae` is `3 error/filter_cutoff/val`, `epoch` is `7 training/epoch`.
    Metrics of the test, and those of other names, keep theirs.
    """
    stage, stroke, figure = metric.partition("/")
    if not stroke:
        return f"{TRAINING}/{metric}"
    if stage not in STAGES:
        return metric
    if figure in FIRST:
        return FIRST[figure].format(stage=stage)
    of_head = next((name for name in OF_HEADS if figure.endswith(f"_{name}")), None)
    if of_head is None or figure in OF_HEADS:
        return f"{OTHER_MEANS}/{figure}/{stage}"
    head = figure.removesuffix(f"_{of_head}")
    if of_head in FIRST_BY_HEAD:
        return FIRST_BY_HEAD[of_head].format(head=head, stage=stage)
    return f"{OTHERS_BY_HEAD}/{head} {of_head}/{stage}"


def tensorboard_loggers(trainer: Trainer) -> list[loggers.TensorBoardLogger]:
    """The TensorBoard loggers of a trainer; none in any process but the first."""
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, loggers.TensorBoardLogger)]


def tensorboard_writers(trainer: Trainer) -> list[SummaryWriter]:
    """The writers of the TensorBoard loggers of a trainer; none in any process but the first."""
    return [logger.experiment for logger in tensorboard_loggers(trainer)]
