"""Feature extractors: callables from one sample to a vector."""

from ._extract import extract as extract
from .classifiers import ConvClassifier as ConvClassifier, MLPClassifier as MLPClassifier
from .pixels import Pixels as Pixels
from .resnet import ResNetClassifier as ResNetClassifier
