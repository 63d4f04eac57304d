"""Images as one array (N, H, W, C) of float32 in a model's range."""

from .sources import check as check, read as read
