"""`radmeter demo`: the main job on one machine, with a second process that plays the PACS."""
