"""TensorBoard output."""
