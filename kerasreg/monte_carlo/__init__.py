"""Monte-Carlo dropout: what a model predicts, and how certain it is of it."""

from kerasreg.monte_carlo.prediction import MonteCarloPrediction, mc_predict

__all__ = ["MonteCarloPrediction", "mc_predict"]
