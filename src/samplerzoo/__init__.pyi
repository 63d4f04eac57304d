"""The public names, and where each is defined; `samplerzoo` loads them when first used."""

from .core.drawing import draw_samples as draw_samples
from .core.engine import run_table as run_table, sample_batch as sample_batch
from .core.families import (
    DDIM as DDIM,
    DDPM as DDPM,
    GDDIM as GDDIM,
    RDDIM as RDDIM,
    AbstractFamily as AbstractFamily,
    ExponentialIntegrator as ExponentialIntegrator,
    Guided as Guided,
    RungeKutta as RungeKutta,
    Times as Times,
    deis as deis,
    dpmpp_multistep as dpmpp_multistep,
    dpmpp_singlestep as dpmpp_singlestep,
    exponential as exponential,
    free_parameters as free_parameters,
    heun as heun,
    ipndm as ipndm,
    runge_kutta as runge_kutta,
    unipc as unipc,
)
from .core.kernels import (
    RBF as RBF,
    AbstractKernel as AbstractKernel,
    Linear as Linear,
    Polynomial as Polynomial,
    RationalQuadratic as RationalQuadratic,
    mmd as mmd,
)
from .core.likelihood import (
    Likelihood as Likelihood,
    log_likelihood as log_likelihood,
    nll as nll,
)
from .core.loss import batch_loss as batch_loss
from .core.marginal_levels import departure as departure, marginals as marginals
from .core.model import DiffusionModel as DiffusionModel, Estimate as Estimate
from .core.objectives import (
    KID as KID,
    AbstractObjective as AbstractObjective,
    Classifier as Classifier,
    Pool as Pool,
    Sum as Sum,
    Teacher as Teacher,
)
from .core.ode import (
    follow_ode as follow_ode,
    follow_ode_batch as follow_ode_batch,
    solve_ode as solve_ode,
)
from .core.optimise import (
    DivergedError as DivergedError,
    SearchState as SearchState,
    adam as adam,
    compile_step as compile_step,
    descend as descend,
    finish as finish,
    start as start,
)
from .core.schedule import (
    EDM as EDM,
    AbstractSchedule as AbstractSchedule,
    CosineVP as CosineVP,
    DiscreteVP as DiscreteVP,
    LinearVP as LinearVP,
    RectifiedFlow as RectifiedFlow,
)
from .core.table import StepTable as StepTable
from .data import Images as Images, read as read
from .exporters.exporting import export as export
from .exporters.importing import import_scheduler as import_scheduler
from .features import (
    AbstractExtractor as AbstractExtractor,
    apply as apply,
    extract as extract,
)
from .metrics import (
    FeatureSet as FeatureSet,
    Metric as Metric,
    Moments as Moments,
    bootstrap as bootstrap,
    cmmd as cmmd,
    density_coverage as density_coverage,
    frechet_distance as frechet_distance,
    inception_score as inception_score,
    kernel_distance as kernel_distance,
    kid_subsets as kid_subsets,
    memorisation as memorisation,
    precision_recall as precision_recall,
)
from .references import Bank as Bank, Statistics as Statistics, reference as reference
from .reports.reporting import Report as Report, report as report
from .reports.zoo_page import zoo as zoo
from .runs.errors import InterruptedRunError as InterruptedRunError, RunError as RunError
from .runs.evaluating import evaluate as evaluate
from .runs.objectives import (
    ObjectiveSetting as ObjectiveSetting,
    SearchedSpace as SearchedSpace,
)
from .runs.parts import load_model as load_model
from .runs.rows import Scores as Scores
from .runs.run import Run as Run, load_run as load_run
from .runs.sampling import sample as sample
from .runs.saved import SavedSampler as SavedSampler
from .runs.scores import baselines as baselines, score as score
from .runs.searching import resume as resume, search as search
from .runs.spec import Config as Config
from .runs.store import load_sampler as load_sampler, save_sampler as save_sampler
from .runs.sweeping import Sweep as Sweep
