"""From topics, live or in a bag, to episodes of a LeRobotDataset. No ROS here, and no clock."""
