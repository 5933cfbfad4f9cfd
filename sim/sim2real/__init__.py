"""How far simulation is from a robot: logs, replay, identification, and rates side by side.

`logs` is the one type that runs of a robot become, `rosbag` and `lerobot_logs` read and write it;
`replay` and `identification` simulate its commands again; `correlation` compares success rates.
`stand_in` is a second simulated world that stands for a robot where none is at hand.
"""
