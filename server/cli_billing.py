GROUPS: dict = {}
