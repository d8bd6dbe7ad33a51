"""What ``flujo demo`` runs: a pipeline of four agents and five plain steps, and a letter for it to work on."""

LOCAL_MODEL = "local:smollm2"
"""The model that the demo asks unless it is told another one; the plugin ``flujo-local-model`` brings it."""
