"""All that is counted and measured of weights."""
