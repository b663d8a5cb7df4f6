"""Classification bundles of the public MONAI model zoo."""
