"""Context against prior: what a model says where its prompt contradicts what it has learnt."""
