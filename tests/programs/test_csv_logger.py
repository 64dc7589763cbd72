import csv
import pickle

from src.programs.csv_logger import CSVLogger


def table(logger):
    with open(logger.experiment.metrics_file_path, newline="") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def test_another_process_goes_on_with_the_table(tmp_path):
    first = CSVLogger(tmp_path, name="csv")
    first.log_hyperparams({"seed": 1})
    training, test = (pickle.loads(pickle.dumps(first)) for _ in range(2))
    training.log_metrics({"val/loss": 0.5}, step=1)
    training.save()
    training.log_metrics({"val/loss": 0.25, "val/acc": 1.0}, step=2)
    training.save()
    test.log_metrics({"test/loss": 0.75}, step=2)
    test.save()
    test.log_metrics({"val/loss": 0.125}, step=3)
    test.save()
    assert table(test) == [
        {"step": "1", "val/loss": "0.5"},
        {"step": "2", "val/loss": "0.25", "val/acc": "1.0"},
        {"step": "2", "test/loss": "0.75"},
        {"step": "3", "val/loss": "0.125"},
    ]


def test_one_process_writes_as_before(tmp_path):
    logger = CSVLogger(tmp_path, name="csv")
    logger.finalize("success")
    logger.log_metrics({"val/loss": 0.5}, step=1)
    logger.finalize("success")
    assert table(logger) == [{"step": "1", "val/loss": "0.5"}]
