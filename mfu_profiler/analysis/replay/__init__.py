"""The trace as a graph of what waits for what, replayed."""
