"""A plugin for Flujo that keeps account numbers out of what agents see."""
