# Validates objects by the schemas of Kubernetes, every unknown field refused. Reads a JSON list of
# {"where", "version", "object"} and prints a fault a line.
import json
import sys

import kubernetes_validate

seen = {}
for entry in json.load(sys.stdin):
    # What was rendered alike for the same version is looked at once.
    key = entry["version"] + json.dumps(entry["object"], sort_keys=True)
    if key not in seen:
        try:
            kubernetes_validate.validate(entry["object"], entry["version"], strict=True)
            seen[key] = None
        except Exception as error:
            seen[key] = f"{getattr(error, 'path', '')} {getattr(error, 'message', error)}"
    if seen[key]:
        print(f"{entry['where']}: {seen[key]}")
