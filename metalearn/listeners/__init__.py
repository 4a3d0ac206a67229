"""Who hears of a training run: the terminal, the event log in its folder, MLflow.

Each takes the events of `training.loop`. `progress` shows progress of any kind. No training code imports this.
"""
