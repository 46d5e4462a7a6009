"""From bytes to a ``Timeline``, and the tables of kernel and host-call names."""
