"""Requests made from the server's OpenAPI document, fit and unfit: none may be answered with a server error."""

import subprocess
import sys

url = sys.argv[1]
command = [
    sys.executable, "-m", "schemathesis.cli", "run", url + "/api/openapi.json",
    "--url", url,
    "--checks", "not_a_server_error,content_type_conformance",
    "--max-examples", "20",
    "--generation-deterministic",
    "--phases", "examples,coverage,fuzzing",
    "--exclude-path", "/api/jobs/atlas",
    "--request-timeout", "60",
    "--workers", "2",
    "--no-color",
]
sys.exit(subprocess.run(command).returncode)
