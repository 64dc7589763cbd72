"""Judging datasets and networks by the sounds behind them."""
