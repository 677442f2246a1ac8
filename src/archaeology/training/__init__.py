"""Training in plain PyTorch: a loop that sees a module and batches, and knows nothing of our models."""
