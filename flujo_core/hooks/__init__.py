"""What plugins may do: the hooks, how plugins are found and loaded, and how their hooks are called."""
