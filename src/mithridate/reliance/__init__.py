"""Context against prior with interventions: fitted on one half of the facts, examined on the other."""
