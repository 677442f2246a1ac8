"""What every other layer stands on and what knows nothing of vision."""
