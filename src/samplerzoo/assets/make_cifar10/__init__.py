"""Train a CIFAR-10 model and classifiers: `python -m samplerzoo.assets.make_cifar10 --help`.

    python -m samplerzoo.assets.make_cifar10 --data train.zip --test test.zip --out FOLDER

trains two classifiers, then the denoiser for `--minutes`; run again, it continues where it stopped.
The data are image-folders (or zips of them), one folder a class. On a GPU the networks compute in
bfloat16 with weights, moments and averages in float32. `--measure` times the candidates and trains
nothing. FOLDER then holds

- `cifar10-denoiser.safetensors`: a `PatchUNet`, the average of the weights in half precision;
- `cifar10-resnet.safetensors` and `cifar10-cnn.safetensors`: the classifiers, whose last-but-one
  activations are features to search in and to report;
- `reference/`: their features of training images;
- `figures.json`, `MODEL_CARD.md`, `samples.png`, `log.jsonl`: how it went;
- `*.checkpoint.safetensors`: what a later run continues from. Where the denoiser's is gone, it
  continues from those weights, with new moments and a new warm-up.

The denoiser learns v with the weights of Karras et al. (2022), with random flips and without
dropout; `figures.json` has DDPM's losses on training and test images, whose gap is its
over-fitting.
Neither the learning rate nor the average of the weights knows how long the training will be, so it
can be stopped, and continued, at any time.
"""
