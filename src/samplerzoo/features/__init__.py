"""Feature extractors: callables from one sample to a vector."""

from .cifar_resnet import CifarResNet as CifarResNet, load_cifar_resnet as load_cifar_resnet
from .classifiers import ConvClassifier as ConvClassifier, MLPClassifier as MLPClassifier
from .extraction import apply as apply, extract as extract, extract_batches as extract_batches
from .extractor import (
    AbstractExtractor as AbstractExtractor,
    Extractor as Extractor,
    Function as Function,
    as_extractor as as_extractor,
    check_extractor as check_extractor,
)
from .inception import Inception as Inception
from .pixels import Pixels as Pixels
from .resizing import Preprocessing as Preprocessing
from .resnet import ResNetClassifier as ResNetClassifier
from .vit import ViT as ViT
