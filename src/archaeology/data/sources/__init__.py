"""Where images come from, one kind per file."""

from archaeology.data.sources.folder import FolderSource as FolderSource
from archaeology.data.sources.hub import HubSource as HubSource
from archaeology.data.sources.medmnist import open_medmnist as open_medmnist
from archaeology.data.sources.named import open_named as open_named
from archaeology.data.sources.npz import NpzSource as NpzSource
from archaeology.data.sources.parquet import ParquetSource as ParquetSource
from archaeology.data.sources.tiny_imagenet import TinyImageNet as TinyImageNet
from archaeology.data.sources.torchvision import TorchvisionSource as TorchvisionSource
