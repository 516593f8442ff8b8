"""An equal, smaller model: what a network does not need is taken out.

`trace` follows the channels through the graph and asks each layer's rule (`rule`, `rules/`) what it
does with them, by way of a `Call`, which writes down `Facts`. `liveness` finds what is needed,
`rebuild` makes the new model.
"""
