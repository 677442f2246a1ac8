"""Where images come from, one kind per file."""

from archaeology.data.sources.parquet import ParquetSource as ParquetSource
