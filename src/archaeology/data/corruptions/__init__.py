"""Common corruptions at five severities, for whole batches: noise, blur, weather, and what cameras and files do."""
