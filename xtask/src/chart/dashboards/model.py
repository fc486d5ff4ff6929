# Reads dashboards into Grafana's own model of them and writes them again. Reads a JSON object of
# {file: dashboard} and prints what is lost or changed on the way, a line each.
import json
import sys

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def differences(read, written, path=""):
    if isinstance(read, dict) and isinstance(written, dict):
        for key, value in read.items():
            if key not in written:
                yield f"{path}.{key}"
            else:
                yield from differences(value, written[key], f"{path}.{key}")
    elif isinstance(read, list) and isinstance(written, list) and len(read) == len(written):
        for index, pair in enumerate(zip(read, written)):
            yield from differences(*pair, f"{path}[{index}]")
    elif read != written:
        yield path


# Options of panels and queries are modelled by kind.
plugins.register_default_plugins()
for file, board in json.load(sys.stdin).items():
    try:
        written = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    except Exception as error:
        print(f"{file}: Grafana cannot read it: {error!r}")
        continue
    for path in differences(board, written):
        print(f"{file}: Grafana does not know {path.lstrip('.')} as it is here")
