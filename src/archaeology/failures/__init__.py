"""Why models fail: slices of images, what attention does there, what mends an answer, and a taxonomy of failures."""
