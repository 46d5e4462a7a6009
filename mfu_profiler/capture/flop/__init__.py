"""The FLOP of one step, counted live: on a real step, or on a meta copy of the model."""
