#!/usr/bin/env bash
# The image and the Compose project, brought up where no image can be pulled, checked, and taken down.
#
#   tests/peers/compose.sh                            compiles in the image, as a user would
#   tests/peers/compose.sh target/release/promdog     takes this binary instead of compiling: the quick way
#
# Needs root, and Debian's docker.io, docker-compose and debootstrap. The base images are replaced by stand-ins made
# here: a bootstrapped Debian, the same with this machine's Rust, and the same with Debian's Prometheus.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=$PWD/tests/peers
binary=${1:-}
[ -z "$binary" ] || binary=$(realpath "$binary")
work=$(mktemp -d)
# Debian's client comes first: its BuildKit is built in, where a newer client without buildx has none.
export PATH=/usr/bin:$PATH PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1
export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1 BUILDKIT_PROGRESS=plain

say() { printf '== %s\n' "$*"; }
free_port() { python3 -c 'import rig; print(rig.free_port())'; }
image_exists() { docker image inspect "$1" >/dev/null 2>&1; }

own_dockerd=
finish() {
    local status=$?
    if [ "$status" -ne 0 ] && [ -n "${COMPOSE_PROJECT_NAME:-}" ]; then
        docker-compose ps || true
        docker-compose logs --no-color --tail=30 || true
    fi
    [ -z "${COMPOSE_PROJECT_NAME:-}" ] || docker-compose down --volumes --remove-orphans >/dev/null 2>&1 || true
    [ -z "$own_dockerd" ] || kill "$own_dockerd" || true
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

docker_ready() { docker info >/dev/null 2>&1; }
if ! docker_ready; then
    say "starting dockerd"
    dockerd >"$work/dockerd.log" 2>&1 &
    own_dockerd=$!
    for _ in $(seq 60); do docker_ready && break; sleep 0.5; done
    docker_ready || { tail -n 20 "$work/dockerd.log"; exit 1; }
fi

# --- stand-ins -------------------------------------------------------------------------------------------------------

debian=promdog-standin/debian:bookworm
if ! image_exists $debian; then
    say "bootstrapping Debian"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/debian" http://deb.debian.org/debian >"$work/debootstrap.log" \
        || { tail -n 20 "$work/debootstrap.log"; exit 1; }
    tar -C "$work/debian" -c . | docker import - $debian >/dev/null
fi

mkdir "$work/rust" "$work/prometheus"
cp /etc/ssl/certs/ca-certificates.crt "$work/rust/"
if [ -n "$binary" ]; then
    say "a build image whose cargo hands out $binary"
    rust=promdog-standin/rust:binary
    cp "$binary" "$work/rust/promdog"
    printf '#!/bin/sh\necho "stand-in for cargo $*"\ninstall -D /opt/promdog target/release/promdog\n' >"$work/rust/cargo"
    chmod +x "$work/rust/cargo"
    printf 'FROM %s\nCOPY cargo /usr/local/bin/cargo\nCOPY promdog /opt/promdog\n' $debian >"$work/rust/Dockerfile"
else
    say "a build image with this machine's Rust"
    rust=promdog-standin/rust:toolchain
    mkdir "$work/rust/toolchain"
    tar -C "$(rustc --print sysroot)" --exclude=./share --exclude='*.html' -c bin lib | tar -C "$work/rust/toolchain" -x
    cat >"$work/rust/Dockerfile" <<EOF
FROM $debian
RUN apt-get update -q && apt-get install -qy --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY toolchain /usr/local
EOF
fi
docker build -q -t $rust "$work/rust" >/dev/null

prometheus=promdog-standin/prometheus:debian
if ! image_exists $prometheus; then
    say "an image with Debian's Prometheus"
    cat >"$work/prometheus/Dockerfile" <<EOF
FROM $debian
RUN apt-get update -q && apt-get install -qy --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/* \
    && install -d -o nobody /prometheus
USER nobody
ENTRYPOINT ["/usr/bin/prometheus"]
EOF
    docker build -q -t $prometheus "$work/prometheus" >/dev/null
fi

# --- up --------------------------------------------------------------------------------------------------------------

export BUILD_IMAGE=$rust RUNTIME_IMAGE=$debian PROMETHEUS_IMAGE=$prometheus PROMDOG_IMAGE=promdog:check
PROMDOG_PORT=$(free_port) PROMETHEUS_PORT=$(free_port) MOCK_INTAKE_PORT=$(free_port) MOCK_VIRT_API_PORT=$(free_port)
export PROMDOG_PORT PROMETHEUS_PORT MOCK_INTAKE_PORT MOCK_VIRT_API_PORT
# What a user may have exported for other tools; none of it may reach the containers.
export DD_API_KEY=exported-key-0123456789abcdef DD_SITE=datadoghq.eu DD_URL=https://exported.invalid
export COMPOSE_PROJECT_NAME=promdog-check-$$

say "docker-compose build"
docker-compose build >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log"; exit 1; }
say "docker-compose up -d"
docker-compose up -d

for service in mock-virt-api mock-virt-api-1 mock-kubernetes mock-intake promdog prometheus; do
    container=$(docker-compose ps -q $service)
    health=
    for _ in $(seq 120); do
        health=$(docker inspect --format '{{.State.Health.Status}}' "$container")
        [ "$health" != healthy ] || break
        sleep 0.5
    done
    say "$service is $health"
    [ "$health" = healthy ]
done

# --- checks ----------------------------------------------------------------------------------------------------------

promdog=$(docker-compose ps -q promdog)
say "promdog runs as user $(docker exec "$promdog" id -u), not as root"
[ "$(docker exec "$promdog" id -u)" != 0 ]
if [[ $(docker inspect --format '{{.Config.Env}}' "$promdog") == *exported* ]]; then
    say "FAIL: what was exported reached the container"
    exit 1
fi
say "the exported DD_API_KEY, DD_SITE and DD_URL did not reach the container"
say "published ports: $(docker port "$promdog" | tr '\n' ' ')"
if docker ps --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --format '{{.Ports}}' | grep -E '0\.0\.0\.0:|:::'; then
    say "FAIL: a port is published to the outside"
    exit 1
fi

python3 - <<'PY'
import json, os, re, subprocess, urllib.parse
from rig import Report, get, wait_for

report = Report()
promdog, intake, prometheus = (f"http://127.0.0.1:{os.environ[f'{name}_PORT']}" for name in ("PROMDOG", "MOCK_INTAKE", "PROMETHEUS"))

page = wait_for("translated metrics", lambda: get(f"{promdog}/metrics")[1])
series = [line for line in page.splitlines() if line.startswith("kubevirt_api_")]
report.check("promdog translates", len(series) > 10, f"{len(series)} series under kubevirt_api_")

def instances(count):
    found = re.findall(r'^promdog_target_up\{target="virt-api/(\S+)"\} 1$', get(f"{promdog}/metrics")[1], re.MULTILINE)
    return found if len(found) == count else None


report.check("each instance behind the name is a target", True, ", ".join(wait_for("two targets", lambda: instances(2))))

wanted = {"kubevirt_api.can_connect", "kubevirt_api.process.cpu_seconds.count", "kubevirt_api.vm.count", "kubevirt_api.vmi.count"}


def metrics():
    """Metric names at the intake, once all that must come have come."""
    text = get(f"{intake}/mock/points")[1]
    json.loads(text)
    return text if all(f'"{name}"' in text for name in wanted) else None


text = wait_for(f"points of {', '.join(sorted(wanted))} at the intake", metrics)
report.check("points are at the intake", True, f"{len(json.loads(text))} entries, {', '.join(sorted(wanted))} among them")
report.check("pushed points carry the cluster's tag", "kube_cluster_name:compose" in text)


def up():
    answer = json.loads(get(f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": "up"}))[1])
    found = {row["metric"]["job"]: row["value"][1] for row in answer["data"]["result"]}
    return found if len(found) == 2 and set(found.values()) == {"1"} else None


report.check("Prometheus scrapes promdog", True, str(wait_for("both jobs up in Prometheus", up)))
subprocess.run(["docker-compose", "stop", "mock-virt-api-1"], check=True, capture_output=True)
report.check("one that stops is gone", True, ", ".join(wait_for("one target", lambda: instances(1))))
report.close()
PY

docker-compose restart promdog >/dev/null 2>&1
for _ in $(seq 60); do
    [ "$(docker inspect --format '{{.State.Health.Status}}' "$promdog")" != healthy ] || break
    sleep 0.5
done
kept=$(docker logs "$promdog" 2>&1 | grep 'the state has been read' | tail -1)
say "after a restart: ${kept#*INFO }"
[[ $kept =~ targets=[1-9] ]]

# --- the override that sends to a real Datadog: its shape only -------------------------------------------------------

both=(-f docker-compose.yml -f docker-compose.datadog.yml)
if [[ $(docker-compose "${both[@]}" config) != *'DD_API_KEY: exported-key'* ]]; then
    say "FAIL: docker-compose.datadog.yml does not pass the exported key on"
    exit 1
fi
if (unset DD_API_KEY; docker-compose "${both[@]}" config) >/dev/null 2>&1; then
    say "FAIL: docker-compose.datadog.yml is accepted without a key"
    exit 1
fi
say "docker-compose.datadog.yml passes the exported key on, and is refused without one"

say "docker-compose down"
docker-compose down --volumes
say "all checks passed"
