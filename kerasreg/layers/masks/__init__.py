"""Random masks and noise, several times faster than those of the backends' own generators."""
