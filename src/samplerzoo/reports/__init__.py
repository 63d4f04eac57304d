"""Figures of one run, and (in `page`) the page that compares runs."""

from .figures import (
    is_image as is_image,
    save_curve as save_curve,
    save_grid as save_grid,
    save_samples as save_samples,
    tile as tile,
)
