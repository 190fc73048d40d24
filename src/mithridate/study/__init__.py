"""The order of things: what a study file says, what it comes to, and how it is run and resumed."""
