"""What stages share when they train: the teacher's outputs, and one imitation loss on Transformers' own Trainer."""
