"""A Snakemake's jobs without their start: one process has PyTorch imported and forks for each of them."""
