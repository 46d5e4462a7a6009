"""Where the training runs: its devices, their peaks and their clocks."""
