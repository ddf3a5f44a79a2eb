"""What is true in a simulation: scenarios, patients, the calendar."""

from .accrual import Accrual, PiecewiseAccrual, PoissonAccrual, Steady
from .bound import Bound, bind
from .calendar import Calendar
from .conduct import Adherence, Dropout
from .covariates import Covariate, Gaussian, Joint, Levels, Sites, Uniform
from .delays import Delay, ExponentialDelay, FixedDelay, QuantileDelay, UniformDelay
from .laws import Law
from .patients import Nature, Patients
from .scenario import Scenario
from .shifts import ArmDrift, Drift, LinearDrift, StepDrift
from .truths import ScenarioTruth, truth

__all__ = ["Accrual", "Adherence", "ArmDrift", "Bound", "Calendar", "Covariate", "Delay", "Drift", "Dropout", "ExponentialDelay", "FixedDelay",
           "Gaussian", "Joint", "Law", "Levels", "LinearDrift", "Nature", "Patients", "PiecewiseAccrual", "PoissonAccrual", "QuantileDelay",
           "Scenario", "ScenarioTruth", "Sites", "Steady", "StepDrift", "Uniform", "UniformDelay", "bind", "truth"]
