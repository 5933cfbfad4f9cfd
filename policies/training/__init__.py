"""Training OpenVLA-shaped policies: labelled views, demonstrations, one loop."""
