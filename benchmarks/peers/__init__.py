"""What ours is compared with."""
