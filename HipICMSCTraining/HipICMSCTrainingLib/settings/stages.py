"""The stages of a training. Without torch, because Slicer shows what a run says of them."""

#: In their order, as :attr:`HipICMSCTrainingLib.settings.training.TrainingSettings.epochs` counts them.
SIMULATION, TRANSLATION, TOGETHER, SELF_TRAINING = range(4)
STAGES = ("simulation", "stage 1", "stage 2", "self-training")
