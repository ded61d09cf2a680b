"""Widgets for JupyterLab, Notebook 7 and Voila."""
