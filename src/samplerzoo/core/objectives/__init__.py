"""What a search minimises."""

from .classifier import Classifier as Classifier
from .kid import KID as KID
from .objective import (
    AbstractObjective as AbstractObjective,
    Pool as Pool,
    check_pool as check_pool,
    choose as choose,
)
from .teacher import Teacher as Teacher, ode_targets as ode_targets, table_targets as table_targets
from .total import Sum as Sum
