"""What breaks a model, and how much of it: curves, transfer, frequencies, corruptions, missing patches, texture."""
