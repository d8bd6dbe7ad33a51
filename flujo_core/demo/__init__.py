"""What ``flujo demo`` runs: a pipeline of four agents and four plain steps, and a letter for it to work on."""
