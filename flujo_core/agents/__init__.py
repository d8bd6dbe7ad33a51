"""Who does the work: adapters for agents."""
