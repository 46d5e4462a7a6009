"""The command line: one small module per command, errors and exit statuses in ``main``."""
