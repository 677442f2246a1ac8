"""Common corruptions at five severities, for whole batches: noise, blur, weather, and what cameras and files do."""

from archaeology.data.corruptions.blur import defocus_blur as defocus_blur
from archaeology.data.corruptions.blur import gaussian_blur as gaussian_blur
from archaeology.data.corruptions.blur import glass_blur as glass_blur
from archaeology.data.corruptions.blur import zoom_blur as zoom_blur
from archaeology.data.corruptions.corrupt import corrupt as corrupt
from archaeology.data.corruptions.corruption import SEVERITIES as SEVERITIES
from archaeology.data.corruptions.corruption import common_corruptions as common_corruptions
from archaeology.data.corruptions.corruption import corruptions as corruptions
from archaeology.data.corruptions.digital import contrast as contrast
from archaeology.data.corruptions.digital import jpeg_compression as jpeg_compression
from archaeology.data.corruptions.digital import pixelate as pixelate
from archaeology.data.corruptions.digital import saturate as saturate
from archaeology.data.corruptions.elastic import elastic_transform as elastic_transform
from archaeology.data.corruptions.motion import motion_blur as motion_blur
from archaeology.data.corruptions.noise import gaussian_noise as gaussian_noise
from archaeology.data.corruptions.noise import impulse_noise as impulse_noise
from archaeology.data.corruptions.noise import shot_noise as shot_noise
from archaeology.data.corruptions.noise import speckle_noise as speckle_noise
from archaeology.data.corruptions.weather import brightness as brightness
from archaeology.data.corruptions.weather import fog as fog
from archaeology.data.corruptions.weather import frost as frost
from archaeology.data.corruptions.weather import snow as snow
