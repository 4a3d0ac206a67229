"""Who hears of a training run: the terminal, the event log in its folder, MLflow.

Each takes the events of `training.loop` and knows no other listener. No training code imports this.
"""
