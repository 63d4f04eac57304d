"""How near samples are to data: functions of two sets of features, and the registered metrics."""

from .builtin import fd as fd, kid as kid
from .checks import LackingError as LackingError
from .copies import memorisation as memorisation
from .discrepancy import cmmd as cmmd
from .frechet import (
    distance_of_moments as distance_of_moments,
    frechet_distance as frechet_distance,
)
from .inception import inception_score as inception_score
from .intervals import (
    Interval as Interval,
    decimals as decimals,
    mean_interval as mean_interval,
    normal_interval as normal_interval,
    ratio_interval as ratio_interval,
)
from .kernel import (
    kernel_distance as kernel_distance,
    kernel_distance_with_error as kernel_distance_with_error,
    kid_subsets as kid_subsets,
)
from .metric import Metric as Metric
from .moments import Moments as Moments, accumulate as accumulate, load_moments as load_moments
from .neighbours import (
    density_coverage as density_coverage,
    precision_recall as precision_recall,
)
from .resampling import bootstrap as bootstrap
from .sets import FeatureSet as FeatureSet, check_widths as check_widths
