"""The Sparsity tab of TensorBoard.

TensorBoard's server loads this package, so it imports neither Keras nor a backend: the server may
run where Keras is not configured, and must start even then.
"""
