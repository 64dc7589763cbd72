"""Pictures of datasets: plots, contact sheets, the viewer."""
