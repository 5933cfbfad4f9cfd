"""A policy on another machine: openpi's protocol and a `Policy` that speaks it. No torch."""
