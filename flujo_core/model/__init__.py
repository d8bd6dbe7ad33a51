"""What a pipeline and a run are: frozen data, no I/O, no event loop."""
