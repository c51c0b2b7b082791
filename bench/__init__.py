"""Claims of speed, as ratios measured side by side in the same run. `make bench` runs them all."""
