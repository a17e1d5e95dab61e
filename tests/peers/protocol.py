"""The Open Inference Protocol, spoken by tritonclient, gives the numbers of `/v1`, `pelton predict` and SQL `predict()` (law 7)."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy
import tritonclient.http as triton

pelton, demo = sys.argv[1], Path(sys.argv[2])
server = subprocess.Popen(
    [pelton, "--project", str(demo), "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
)
try:
    said = ""
    while not (found := re.search(r"127\.0\.0\.1:(\d+)", said)):
        line = server.stdout.readline()
        assert line, f"the server ended: {said}"
        said += line
    address = f"127.0.0.1:{found[1]}"

    body = json.loads(next((demo / "requests").glob("*suspicious*.json")).read_text())
    # A tensor of this client cannot say that a value is missing, so every column has one.
    row = {name: "unknown" if value is None else value for name, value in body["rows"][0].items()}

    def post(path, body):
        request = urllib.request.Request(
            f"http://{address}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        return json.load(urllib.request.urlopen(request))

    by_rest = post("/v1/models/fraud/predict", {"rows": [row]})["predictions"][0]

    client = triton.InferenceServerClient(address)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("fraud")
    inputs = []
    numpy_types = {"FP64": numpy.float64, "FP32": numpy.float32, "INT64": numpy.int64, "INT32": numpy.int32,
                   "INT16": numpy.int16, "INT8": numpy.int8, "BOOL": numpy.bool_}
    for tensor in client.get_model_metadata("fraud")["inputs"]:
        name, datatype = tensor["name"], tensor["datatype"]
        if name not in row:
            continue  # the key is optional
        if datatype == "BYTES":
            data = numpy.array([str(row[name])], dtype=object)
        else:
            data = numpy.array([row[name]], dtype=numpy_types[datatype])
        wire = triton.InferInput(name, [1], datatype)
        wire.set_data_from_numpy(data, binary_data=False)
        inputs.append(wire)
    answer = client.infer("fraud", inputs, outputs=[triton.InferRequestedOutput("score", binary_data=False)])
    by_triton = float(answer.as_numpy("score")[0])
    assert by_triton == by_rest["score"], (by_triton, by_rest)

    out = subprocess.run(
        [pelton, "--project", str(demo), "predict", "fraud", "--row", json.dumps(row), "--format", "json"],
        check=True, capture_output=True, text=True,
    )
    by_command = json.loads(out.stdout)["predictions"][0]
    assert by_command["score"] == by_rest["score"], (by_command, by_rest)

    receipt = json.load(urllib.request.urlopen(f"http://{address}/v1/receipts/{by_rest['receipt']}"))
    assert receipt["rescored"]["same_bits"] is True, receipt
    for path, body, status in [
        ("/v2/models/fraud/infer", {"inputs": [{"name": "nope", "datatype": "FP64", "shape": [1], "data": [1]}]}, 400),
        ("/v1/models/nobody/predict", {"rows": [row]}, 404),
        ("/v1/models/fraud/predict", {"rows": [{**row, "amount": "much"}]}, 400),
    ]:
        try:
            post(path, body)
            raise SystemExit(f"{path} was answered")
        except urllib.error.HTTPError as error:
            assert error.code == status and json.load(error)["error"], (path, error.code)
finally:
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=20) == 0, "the server did not drain"
print(f"peers: tritonclient, /v1 and `pelton predict` give {by_triton!r}; its receipt re-scores to the same bits")
