"""Every problem that can be measured; importing this fills `CASES`."""

from . import conv, elementwise, gemm, models, overhead, rnn, rows

__all__ = ["conv", "elementwise", "gemm", "models", "overhead", "rnn", "rows"]
