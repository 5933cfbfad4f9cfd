"""A page on localhost that shows what a running graph does. `vla-ros watch` serves it."""
