"""Runs vision-language-action policies on robot arms over ROS 2; the only folder with rclpy."""
