"""What can go wrong between respondents and agents. What can go wrong before that is in `assets/sources/errors.py`.

    PopulationError
    ├── PopulationFileError         the population file is absent or wrong
    ├── CalibrationError            design weights cannot be calibrated
    │   ├── InconsistentMargins       margins contradict themselves, one another or the attributes
    │   ├── EmptyMarginLevel          a level with a positive total has no respondent
    │   ├── MissingMarginAttribute    a respondent has no value in an attribute that a margin uses
    │   ├── InfeasibleMargins         no weights at all meet the margins together
    │   ├── InfeasibleBounds          no weights within the bounds or the cap meet the margins
    │   ├── NegativeWeights           the linear method needs weights of zero or less
    │   └── RakingNotConverged        the margins cannot be met in the iterations allowed
    └── SynthesisError              agents cannot be made from the calibrated respondents

Every message says what failed, what was found, what was allowed and the next step.
"""


class PopulationError(ValueError):
    """Something between respondents and agents cannot go on; no table is written."""


class PopulationFileError(PopulationError):
    """The population file is absent or wrong."""


class CalibrationError(PopulationError):
    """Design weights cannot be calibrated."""


class InconsistentMargins(CalibrationError):
    """Margins contradict themselves, one another or the attributes."""


class EmptyMarginLevel(CalibrationError):
    """A level with a positive total has no respondent."""


class MissingMarginAttribute(CalibrationError):
    """A respondent has no value in an attribute that a margin uses."""


class InfeasibleMargins(CalibrationError):
    """No weights at all meet the margins together."""


class InfeasibleBounds(CalibrationError):
    """No weights within the bounds or the cap meet the margins."""


class NegativeWeights(CalibrationError):
    """The linear method needs weights of zero or less."""


class RakingNotConverged(CalibrationError):
    """The margins cannot be met in the iterations allowed."""


class SynthesisError(PopulationError):
    """Agents cannot be made from the calibrated respondents."""
