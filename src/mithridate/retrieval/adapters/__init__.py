"""The guard in other people's frameworks. Each file needs its own extra, and nothing else imports them."""
