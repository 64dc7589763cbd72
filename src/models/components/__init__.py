"""Parts of networks; one file per family."""
