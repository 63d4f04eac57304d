"""Images as one array (N, H, W, C) of float32 in [-1, 1]."""

from .sources import check as check, read as read
