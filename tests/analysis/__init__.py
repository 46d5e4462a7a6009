"""Tests of the analysis; ``pictures.py`` draws their timelines."""
