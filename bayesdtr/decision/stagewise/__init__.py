"""Stage-wise Bayesian Q-learning: backwards over the decisions by imputation."""
