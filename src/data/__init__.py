"""Datasets and the datamodule that feeds them to a trainer."""
