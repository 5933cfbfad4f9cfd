"""Offers a policy to robots over the network; `policies.remote` is the other end. No ROS."""
