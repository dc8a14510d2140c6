"""Training: recipes, losses, optimizers, the training step and the training loop."""
