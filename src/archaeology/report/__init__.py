"""A run directory as a report: one self-contained page and the same in Markdown."""

from archaeology.report.write import write_report as write_report
