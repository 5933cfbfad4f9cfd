"""Policies ranked in imagination: how well that tells how they do in MuJoCo. No ROS.

`settings` says what to rank, `work` runs one episode in both worlds, `journal` keeps what is done,
`truth` reads what `vla-ros evaluate` measured before, `result` adds everything up.
"""
