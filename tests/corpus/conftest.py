"""Hugging Face libraries stay quiet and offline."""

import datasets

datasets.disable_progress_bars()
