"""OpenVLA (arXiv 2406.09246) on current timm and transformers."""
