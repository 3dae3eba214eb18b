"""The generated expositions of generate.rs, byte for byte, and a server that answers with them from memory."""

import contextlib
import http.server
import multiprocessing
import threading

BOUNDS = ("0.005", "0.025", "0.05", "0.1", "0.2", "0.4", "0.6", "0.8", "1", "1.25", "1.5", "2", "3", "4", "5", "6", "8",
          "10", "15", "20", "30", "45", "60", "+Inf")
RESOURCES = ("pods", "nodes", "virtualmachines", "virtualmachineinstances", "configmaps", "events", "leases", "kubevirts")
VERBS = ("GET", "LIST", "WATCH", "CREATE", "UPDATE", "PATCH")
CODES = ("200", "201", "404", "409", "500")
PROCESS = ("# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1700000000\n"
           "# TYPE process_open_fds gauge\nprocess_open_fds 21\n")
LATENCY, REQUESTS = "kubevirt_rest_client_request_latency_seconds", "kubevirt_rest_client_requests_total"
LATENCY_HEAD = (f"# HELP {LATENCY} Request latency in seconds. Broken down by verb and URL.\n# TYPE {LATENCY} histogram\n")
REQUESTS_HEAD = (f"# HELP {REQUESTS} Number of HTTP requests, partitioned by status code, method, and host.\n"
                 f"# TYPE {REQUESTS} counter\n")


class Page:
    """At least so many series, and fewer than 30 more, whose numbers grow."""

    def __init__(self, series):
        self.state = 0x9E3779B97F4A7C15
        latencies, requests = {}, {}
        while 2 + len(latencies) * 26 < series * 4 // 5:
            at = len(latencies)
            path = f"https://10.96.0.1:443/apis/kubevirt.io/v1/namespaces/%7Bnamespace%7D/{RESOURCES[at % 8]}"
            shard = at * 0x9E3779B1 & 0xFFFFFFFF
            below, values = 0, []
            for _ in BOUNDS:
                below += self.below(50)
                values.append(below)
            verb = VERBS[at // 8 % 6]
            latencies[f'url="{path}?fieldSelector=%7Bvalue%7D&shard={shard:08x}",verb="{verb}"'] = [*values, below * 0.0173, below]
        while 2 + len(latencies) * 26 + len(requests) < series:
            at = len(requests)
            host = at // 240 * 0x9E3779 & 0xFFFFFF
            labels = (f'code="{CODES[at % 5]}",host="10.{host >> 16}.{host >> 8 & 0xFF}.{host & 0xFF}:443",method="GET",'
                      f'resource="{RESOURCES[at // 30 % 8]}",verb="{VERBS[at // 5 % 6]}"')
            requests[labels] = self.below(100_000)
        self.keys, self.values = [], []
        for labels, values in sorted(latencies.items()):
            self.keys += [f'{LATENCY}_bucket{{{labels},le="{bound}"}}' for bound in BOUNDS]
            self.keys += [f"{LATENCY}_sum{{{labels}}}", f"{LATENCY}_count{{{labels}}}"]
            self.values += values
        self.latencies = len(self.keys)
        for labels, value in sorted(requests.items()):
            self.keys.append(f"{REQUESTS}{{{labels}}}")
            self.values.append(value)

    def below(self, end):
        state = self.state
        state ^= state << 13 & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 7
        state ^= state << 17 & 0xFFFFFFFFFFFFFFFF
        self.state = state
        return state % end

    def step(self, percent=30):
        """Time passes: so many of a hundred numbers grow."""
        for at, value in enumerate(self.values):
            if self.below(100) < percent:
                self.values[at] = value + 1 + self.below(5)

    def series(self):
        return 2 + len(self.keys)

    def key_bytes(self):
        return sum(map(len, self.keys)) + len("process_start_time_seconds") + len("process_open_fds")

    def text(self):
        lines = [f"{key} {repr(value).removesuffix('.0')}\n" for key, value in zip(self.keys, self.values)]
        return "".join([PROCESS, LATENCY_HEAD, *lines[: self.latencies], REQUESTS_HEAD, *lines[self.latencies :]]).encode()


@contextlib.contextmanager
def served(texts, port):
    """A process that answers each path with the first text, then the next, and at last always with the last one."""
    asked, lock = {}, threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            with lock:
                at = asked[self.path] = asked.get(self.path, -1) + 1
            text = texts[min(at, len(texts) - 1)]
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

    server = Server(("127.0.0.1", port), Handler)
    child = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
    child.start()
    server.socket.close()
    try:
        yield
    finally:
        child.terminate()
        child.join()
