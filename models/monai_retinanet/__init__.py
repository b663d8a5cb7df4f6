"""Serving of MONAI bundles of the public lung_nodule_ct_detection layout."""
