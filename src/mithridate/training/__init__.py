"""Training: pretraining by a loop of our own, alignment (SFT and DPO) through TRL."""
