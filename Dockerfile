# promdog's image: one static-enough binary on a slim Debian, no shell scripts, no root.
#
#   docker build -t promdog .                                  # Docker 23 and later
#   DOCKER_BUILDKIT=1 docker build -t promdog .                # Docker 20.10 (cache mounts need BuildKit)
#   docker build -t promdog --build-arg FEATURES=datadog-api . # with the official client: about 10 GB of memory
#
# Both base images are arguments, so that a mirror, or a stand-in where nothing can be pulled, can be given.
ARG BUILD_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
ARG FEATURES=
WORKDIR /src
COPY . .
# The registry and the compiled dependencies stay in the builder's cache; only the binary leaves the step.
RUN --mount=type=cache,id=promdog-cargo,target=/var/cache/cargo \
    --mount=type=cache,id=promdog-target,target=/src/target \
    CARGO_HOME=/var/cache/cargo cargo build --locked --release --bin promdog --features "${FEATURES}" \
    && install -D target/release/promdog /out/promdog && mkdir /out/state

FROM ${RUNTIME_IMAGE}
# Datadog's certificate is checked against this bundle; a slim Debian has none of its own.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/promdog /usr/local/bin/promdog
# A volume that is mounted here for the first time is promdog's own.
COPY --from=build --chown=65532:65532 /out/state /var/lib/promdog
# Left alone, glibc keeps what is freed; with these it gives most of it back. docs/performance.md has both measured.
ENV MALLOC_ARENA_MAX=2 MALLOC_TRIM_THRESHOLD_=131072
USER 65532:65532
EXPOSE 10045
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["promdog", "health"]
ENTRYPOINT ["promdog"]
CMD ["serve"]
