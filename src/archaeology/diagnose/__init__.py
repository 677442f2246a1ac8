"""Why a training went as it did: what went wrong, the numbers that show it, and what to do about it."""

# Checks are asked in the order of these lines; those that ask what the others found (no warm-up, post-norm,
# underfitting) stand behind them.
from archaeology.diagnose import attention as _attention
from archaeology.diagnose import breaking as _breaking
from archaeology.diagnose import divergence as _divergence
from archaeology.diagnose import overfitting as _overfitting
from archaeology.diagnose import plateau as _plateau
from archaeology.diagnose import start as _start
from archaeology.diagnose import underfitting as _underfitting
from archaeology.diagnose.comparison import Comparison as Comparison
from archaeology.diagnose.comparison import compare as compare
from archaeology.diagnose.diagnose import Report as Report
from archaeology.diagnose.diagnose import diagnose as diagnose
from archaeology.diagnose.diagnosis import Case as Case
from archaeology.diagnose.diagnosis import Check as Check
from archaeology.diagnose.diagnosis import Diagnosis as Diagnosis
from archaeology.diagnose.diagnosis import checks as checks
from archaeology.diagnose.history import RunHistory as RunHistory
from archaeology.diagnose.history import read_history as read_history
from archaeology.diagnose.look import AttentionLayer as AttentionLayer
from archaeology.diagnose.look import look_at as look_at
