"""What was known about a customer at a moment."""

import os

# Every other package of ours imports this one first, so this holds before any dependency is imported, in
# every process: none of them may call home, and MLflow may not unpickle.
for _name, _value in {
    "BENTOML_DO_NOT_TRACK": "True",  # "1" is ignored
    "DO_NOT_TRACK": "1",
    "FEAST_USAGE": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "GIT_PYTHON_REFRESH": "quiet",  # MLflow asks for git, which a server need not have
}.items():
    os.environ.setdefault(_name, _value)
