"""Feature extractors: callables from one sample to a vector."""

from .classifiers import ConvClassifier as ConvClassifier, MLPClassifier as MLPClassifier
from .pixels import Pixels as Pixels
