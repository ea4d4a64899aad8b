"""Reproduction of four lifelong-learning papers as one workflow."""
