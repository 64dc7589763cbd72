"""What the programs share: configuration, errors in words, run directories, loggers."""
