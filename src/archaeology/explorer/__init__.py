"""The explorer: one image, all layers and heads of a model, in any page; this package makes what the page shows."""
