"""INT8 calibration of an exported graph, with a gate.

An fp32 graph gets Quantize/Dequantize pairs where TensorRT fuses them, and is refused when a task
loses too much accuracy. `calibrate_and_judge` does the whole.

These names are public:

- the whole of it: `calibrate_and_judge`, `CalibrationSettings`
- pictures: `CalibrationPictures`, `GatePictures`, `LabelledPictures`
- ranges alone: `measure_ranges`, `Ranges`
- what came of it: `CalibrationReport`, `write_calibration_report`, `TaskScore`, `Verdict`,
  `Agreement`
- errors: `CalibrationError`

Everything else, every module of this package included, is internal and may change in any release.
Public names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_calibration.errors import CalibrationError
from snow_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from snow_calibration.gate import Agreement, TaskScore
    from snow_calibration.pictures import CalibrationPictures, LabelledPictures
    from snow_calibration.ranges import Ranges, measure_ranges
    from snow_calibration.report import CalibrationReport, write_calibration_report
    from snow_calibration.run import CalibrationSettings, GatePictures, calibrate_and_judge
    from snow_calibration.verdict import Verdict

__all__ = [
    "Agreement",
    "CalibrationError",
    "CalibrationPictures",
    "CalibrationReport",
    "CalibrationSettings",
    "GatePictures",
    "LabelledPictures",
    "Ranges",
    "TaskScore",
    "Verdict",
    "calibrate_and_judge",
    "measure_ranges",
    "write_calibration_report",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and refuse a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "gate": ("Agreement", "TaskScore"),
            "pictures": ("CalibrationPictures", "LabelledPictures"),
            "ranges": ("Ranges", "measure_ranges"),
            "report": ("CalibrationReport", "write_calibration_report"),
            "run": ("CalibrationSettings", "GatePictures", "calibrate_and_judge"),
            "verdict": ("Verdict",),
        },
    )
