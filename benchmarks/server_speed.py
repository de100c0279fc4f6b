r"""The server on this machine: start, requests per second with heat map, waiting times, memory, and decoding.

EfficientNet-B0 at 224 with random weights, JPEG files of 2048 × 1536 pixels and about 1 MB, four clients on the same
machine. The requests and their number are fixed; nothing but 127.0.0.1 is asked.

    python benchmarks/server_speed.py --requests 10000
"""

import argparse
import http.client
import io
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image
from predictor_speed import make_bundle

CLIENTS = 4
BOUNDARY = "boundary"


def picture(width, height, seed=0):
    """Bytes of a JPEG as a camera makes it: smooth, with some grain."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(60, 220, (12, 16, 3), dtype="uint8")).resize((width, height), Image.BICUBIC)
    pixels = np.asarray(coarse, dtype="int16") + rng.integers(-9, 10, (height, width, 3), dtype="int16")
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")).save(file, "JPEG", quality=94)
    return file.getvalue()


def body(content):
    """A form with an image, sex and the wish for a heat map."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in (("sex", "female"), ("age_approx", "45"), ("heatmap", "true"))
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'.encode()
    return b"".join(parts) + head + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def resident(pid):
    """Megabytes in use."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def ask(port, form, count, times):
    """One client: request after request on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    for _ in range(count):
        started = time.perf_counter()
        connection.request("POST", "/api/v1/predict", form, headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content[:200]
        times.append(time.perf_counter() - started)


def load(port, form, count):
    """All clients together; seconds of the whole and of each request."""
    times = []
    threads = [threading.Thread(target=ask, args=(port, form, count // CLIENTS, times)) for _ in range(CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started, times


def main():
    """Start the server, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--port", type=int, default=8765)
    options = parser.parse_args()
    content = picture(2048, 1536)
    print(f"JPEG of 2048 × 1536, {len(content) / 1e6:.2f} MB; {os.cpu_count()} cores, {CLIENTS} clients on them too")
    with tempfile.TemporaryDirectory() as folder:
        make_bundle("efficientnet_b0", 224, f"{folder}/bundle")
        program = str(Path(sys.executable).parent / "melanomafusion")
        started = time.perf_counter()
        server = subprocess.Popen([program, "serve", f"{folder}/bundle", "--port", str(options.port)])
        try:
            while True:
                try:
                    connection = http.client.HTTPConnection("127.0.0.1", options.port, timeout=5)
                    connection.request("GET", "/healthz")
                    connection.getresponse().read()
                    break
                except OSError:
                    time.sleep(0.02)
            print(f"start to first answer: {time.perf_counter() - started:.2f} s")
            form = body(content)
            load(options.port, form, 1000)
            early = resident(server.pid)
            seconds, times = load(options.port, form, options.requests - 1000)
            late = resident(server.pid)
            times.sort()
            count = len(times)
            print(
                f"{count / seconds:.1f} requests/s; median {1000 * statistics.median(times):.0f} ms, "
                f"p99 {1000 * times[int(0.99 * count)]:.0f} ms; memory after 1,000 requests {early:.0f} MB, after "
                f"{options.requests:,} {late:.0f} MB ({late / early - 1:+.1%})"
            )
        finally:
            server.terminate()
            server.wait()
    decode()


def decode():
    """A 12-megapixel upload to the pixels that the model sees."""
    import melanomafusion as mf

    content, spec = picture(4000, 3000), mf.ImageSpec(224)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        spec.load(content)
        times.append(time.perf_counter() - started)
    print(f"decoding 12 megapixels ({len(content) / 1e6:.1f} MB) to 224: {1000 * statistics.median(times):.0f} ms")


if __name__ == "__main__":
    main()
